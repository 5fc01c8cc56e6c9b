/* Payload in, text out, a block at a time: memory stays at two pages whatever the answer's size. */
#include "clients/commands/output.h"

#include <stdio.h>
#include <string.h>

#include "clients/commands/commands.h"

mmq_form mmq_output_form(const char *format, mmq_form json_form, mmq_form csv_form,
                         mmq_form table_form)
{
    switch (format[0]) {
    case 'j':
        return json_form;
    case 'c':
        return csv_form;
    case 'm':
        return MMQ_FORM_MSGPACK;
    default:
        return table_form;
    }
}

/* Writes what the renderer has; false if the reader is gone or the payload made no sense. */
static bool write_text(mmq_render *render, mmq_why *why)
{
    char block[16384];
    bool failed = false;
    size_t size;
    while ((size = mmq_render_read(render, block, sizeof block, &failed)) > 0 && !failed) {
        if (fwrite(block, 1, size, stdout) != size) {
            (void)mmq_fail(why, MMQ_EIO, "cannot write to standard output");
            return false;
        }
    }
    if (failed) {
        (void)mmq_fail(why, MMQ_EPROTO, "the answer cannot be read");
    }
    return !failed;
}

/* MMQ_EEND: the whole stream was written. */
static mmq_err write_stream(mmq_stream *stream, mmq_render *render, mmq_why *why)
{
    mmq_err err = MMQ_OK;
    while (!err) {
        mmq_frame payload;
        mmq_frame_init(&payload);
        err = mmq_stream_next(stream, &payload, why);
        if (!err) {
            mmq_render_feed(render, mmq_frame_data(&payload), mmq_frame_size(&payload));
            err = write_text(render, why) ? MMQ_OK : MMQ_EIO;
        }
        mmq_frame_close(&payload);
    }
    if (err == MMQ_EEND) {
        mmq_render_finish(render);
        err = write_text(render, why) ? MMQ_EEND : MMQ_EIO;
    }
    return err;
}

int mmq_output_stream(mmq_client *client, mmq_args *args, unsigned timeout_ms, mmq_form form)
{
    mmq_why why = {""};
    const mmq_stream_options options = {.call = {.service = MMQ_SERVICE_QUERY,
                                                 .args = args->pairs.data,
                                                 .args_size = args->pairs.size,
                                                 .args_count = args->count,
                                                 .timeout_ms = timeout_ms,
                                                 .retry = true}};
    mmq_render *render = mmq_render_new(form);
    mmq_stream *stream = args->pairs.failed ? NULL : mmq_stream_new(client, &options, &why);
    mmq_err err = MMQ_ENOMEM;
    if (render && stream) {
        err = write_stream(stream, render, &why);
    }
    mmq_stream_destroy(&stream);
    mmq_render_destroy(&render);
    mmq_args_clear(args);
    return err == MMQ_EEND ? MMQ_EXIT_DONE
                           : mmq_failed("%s", why.text[0] ? why.text : "out of memory");
}
