/* Who asks while a set is under way waits on its list; a set begins only when none is under way and
 * the last one is no longer fresh. */
#include "clients/http/inquiry.h"

#include <stdlib.h>
#include <string.h>

#include "clients/http/exchange.h"
#include "lib/check.h"
#include "lib/clock.h"

struct reply {
    mmq_inquiry *inquiry;
    uint64_t handle; /* 0: not under way */
    int status;
    bool has_payload;
    mmq_frame payload;
};

struct mmq_inquiry {
    mmq_client *client;
    const mmq_question *questions;
    size_t count;
    mmq_inquiry_fn *answer;
    struct reply replies[MMQ_INQUIRY_QUESTIONS];
    size_t open;      /* calls under way */
    int64_t known_ns; /* when the replies were all there; 0: never */
    struct mmq_exchange_list askers;
};

mmq_inquiry *mmq_inquiry_new(mmq_client *client, const mmq_question *questions, size_t count,
                             mmq_inquiry_fn *answer)
{
    CHECK(count <= MMQ_INQUIRY_QUESTIONS);
    mmq_inquiry *inquiry = calloc(1, sizeof *inquiry);
    if (inquiry == NULL) {
        return NULL;
    }
    inquiry->client = client;
    inquiry->questions = questions;
    inquiry->count = count;
    inquiry->answer = answer;
    TAILQ_INIT(&inquiry->askers);
    for (size_t i = 0; i < count; i++) {
        inquiry->replies[i].inquiry = inquiry;
        mmq_frame_init(&inquiry->replies[i].payload);
    }
    return inquiry;
}

void mmq_inquiry_destroy(mmq_inquiry **inquiry_p)
{
    mmq_inquiry *inquiry = *inquiry_p;
    if (inquiry == NULL) {
        return;
    }
    CHECK(TAILQ_EMPTY(&inquiry->askers));
    for (size_t i = 0; i < inquiry->count; i++) {
        mmq_client_cancel(inquiry->client, inquiry->replies[i].handle);
        mmq_frame_close(&inquiry->replies[i].payload);
    }
    free(inquiry);
    *inquiry_p = NULL;
}

static void answer_all(mmq_inquiry *inquiry)
{
    mmq_exchange *exchange;
    inquiry->known_ns = mmq_now_ns();
    while ((exchange = TAILQ_FIRST(&inquiry->askers))) {
        mmq_inquiry_leave(exchange);
        inquiry->answer(exchange, inquiry);
    }
}

static void take_reply(void *context, const mmq_answer *answer)
{
    struct reply *reply = context;
    if (!answer->final) {
        return;
    }
    reply->handle = 0;
    reply->status = (int)answer->header->status;
    reply->has_payload = answer->payload != NULL && reply->status == 200;
    if (reply->has_payload) {
        mmq_frame_move(&reply->payload, answer->payload);
    }
    if (--reply->inquiry->open == 0) {
        answer_all(reply->inquiry);
    }
}

/* A question that cannot even be asked is one that nobody answers. */
static void send_question(mmq_inquiry *inquiry, size_t index)
{
    const mmq_question *question = &inquiry->questions[index];
    struct reply *reply = &inquiry->replies[index];
    mmq_why why = {""};
    mmq_args args;
    mmq_args_init(&args);
    mmq_call call = {.service = question->service,
                     .timeout_ms = MMQ_INQUIRY_TIMEOUT_MS,
                     .answer = take_reply,
                     .context = reply};
    if (strncmp(question->service, "mmi.", 4) == 0) {
        call.args = question->text;
        call.args_size = strlen(question->text);
    } else {
        mmq_args_cstr(&args, "op", question->text);
        call.args = args.pairs.data;
        call.args_size = args.pairs.size;
        call.args_count = args.count;
    }
    mmq_frame_close(&reply->payload);
    mmq_frame_init(&reply->payload);
    reply->has_payload = false;
    reply->status = 503;
    reply->handle = args.pairs.failed ? 0 : mmq_client_send(inquiry->client, &call, &why);
    inquiry->open += reply->handle != 0;
    mmq_args_clear(&args);
}

void mmq_inquiry_ask(mmq_inquiry *inquiry, mmq_exchange *exchange)
{
    const int64_t fresh_ns = MMQ_INQUIRY_FRESH_MS * MMQ_NS_PER_MS;
    bool fresh = inquiry->known_ns != 0 && mmq_now_ns() - inquiry->known_ns < fresh_ns;
    if (inquiry->open == 0 && fresh) {
        inquiry->answer(exchange, inquiry);
        return;
    }
    exchange->inquiry = inquiry;
    TAILQ_INSERT_TAIL(&inquiry->askers, exchange, asking);
    if (inquiry->open > 0) {
        return;
    }
    for (size_t i = 0; i < inquiry->count; i++) {
        send_question(inquiry, i);
    }
    if (inquiry->open == 0) {
        answer_all(inquiry);
    }
}

void mmq_inquiry_leave(mmq_exchange *exchange)
{
    if (exchange->inquiry != NULL) {
        TAILQ_REMOVE(&exchange->inquiry->askers, exchange, asking);
        exchange->inquiry = NULL;
    }
}

int mmq_inquiry_status(const mmq_inquiry *inquiry, size_t index)
{
    return inquiry->replies[index].status;
}

bool mmq_inquiry_payload(const mmq_inquiry *inquiry, size_t index, mmq_reader *out)
{
    const struct reply *reply = &inquiry->replies[index];
    if (reply->has_payload) {
        mmq_reader_init(out, mmq_frame_data(&reply->payload), mmq_frame_size(&reply->payload));
    }
    return reply->has_payload;
}
