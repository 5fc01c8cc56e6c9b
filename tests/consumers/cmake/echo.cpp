// A program of others, in C++, that serves and asks: echo CLIENTS WORKERS TEXT
//
// Its worker answers requests of `echo.consumer` with their own body; its client sends one and prints the answer.
#include <cstdio>
#include <string>

#include <metricmq/client.h>
#include <metricmq/worker.h>

static void answer(void *, mmq_request **requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        const void *body = mmq_request_body(requests[i], &size);
        mmq_frame payload;
        mmq_frame_init(&payload);
        mmq_final final = {};
        final.status = mmq_frame_copy(&payload, body, size) == MMQ_OK ? 200 : 500;
        final.rows = -1;
        mmq_request_final(&requests[i], &final, &payload);
    }
}

// Asks until the worker's READY has come to the broker, which refuses before: the client tries again by itself.
static int ask(mmq_client *client, const std::string &text)
{
    std::string args = std::string("\xa4text\xa1", 6); // a key, and the head of a text, whose size is added
    args[5] = static_cast<char>(0xa0 | text.size());
    args += text;
    mmq_call call = {};
    call.service = "echo.consumer";
    call.args = args.data();
    call.args_size = args.size();
    call.args_count = 1;
    call.timeout_ms = 20000;
    call.retry = true;
    mmq_result result;
    mmq_why why = {};
    if (mmq_client_call(client, &call, &result, &why) != MMQ_OK) {
        std::fprintf(stderr, "echo: %s\n", why.text);
        return 1;
    }
    std::string body(static_cast<const char *>(mmq_frame_data(&result.payload)), mmq_frame_size(&result.payload));
    bool whole = result.status == 200 && body.find(args) != std::string::npos;
    std::printf("status %d %s\n", result.status, whole ? text.c_str() : result.error);
    mmq_result_clear(&result);
    return whole ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 4 || std::string(argv[3]).size() > 31) {
        std::fprintf(stderr, "usage: echo CLIENTS WORKERS TEXT\n");
        return 2;
    }
    mmq_why why = {};
    mmq_worker_options options = {};
    options.endpoint = argv[2];
    options.service = "echo.consumer";
    options.capacity = 4;
    options.handle = answer;
    mmq_worker *worker = mmq_worker_new(&options, &why);
    mmq_client *client = worker ? mmq_client_new(argv[1], &why) : nullptr;
    int status = 1;
    if (client) {
        status = ask(client, argv[3]);
    } else {
        std::fprintf(stderr, "echo: %s\n", why.text);
    }
    mmq_client_destroy(&client);
    mmq_worker_destroy(&worker);
    return status;
}
