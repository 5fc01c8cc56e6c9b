/* IMDSv2: a token by PUT, then with it the role's name, then its credentials. The service is a hop
 * away or not there at all, so that waits are short; and it is never reached by a proxy. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/calendar.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "metricmq/unpack.h"
#include "workers/targets/s3_address.h"
#include "workers/targets/s3_http.h"
#include "workers/targets/s3_keys.h"

#define SERVICE "http://169.254.169.254"
#define ROLES   "/latest/meta-data/iam/security-credentials/"

enum {
    CONNECT_MS = 1000,
    ANSWER_MS = 2000,
    TICK_MS = 50,
    PACKED_MAX = 32 * 1024,
    ANSWER_MAX = 16 * 1024,
    LABEL_MAX = 512, /* bytes of a token or a role's name */
};

/* ---- its answer ------------------------------------------------------------------------- */

/* Copies the text under the key; "" if there is none that fits. */
static void copy_text(mmq_reader map, const char *key, char *out, size_t room)
{
    mmq_value value;
    mmq_reader whole;
    out[0] = '\0';
    if (mmq_map_find(map, key, &value, &whole) && value.type == MMQ_STR && value.text.size < room) {
        memcpy(out, value.text.data, value.text.size);
        out[value.text.size] = '\0';
    }
}

static bool take_answer(mmq_reader map, mmq_s3_keys *out)
{
    struct {
        char access[MMQ_S3_ACCESS_MAX + 1], secret[MMQ_S3_SECRET_MAX + 1];
        char token[MMQ_S3_TOKEN_MAX + 1];
        char code[32], expires[32];
    } text = {.code = ""};
    copy_text(map, "Code", text.code, sizeof text.code);
    copy_text(map, "AccessKeyId", text.access, sizeof text.access);
    copy_text(map, "SecretAccessKey", text.secret, sizeof text.secret);
    copy_text(map, "Token", text.token, sizeof text.token);
    copy_text(map, "Expiration", text.expires, sizeof text.expires);
    int64_t expires_s = 0;
    const bool ok = (text.code[0] == '\0' || strcmp(text.code, "Success") == 0) &&
                    text.token[0] != '\0' &&
                    mmq_time_parse_loose(text.expires, strlen(text.expires), &expires_s) &&
                    expires_s > 0 && mmq_s3_keys_take(out, text.access, text.secret, text.token);
    if (ok) {
        out->expires_s = expires_s;
    }
    explicit_bzero(&text, sizeof text);
    return ok;
}

mmq_err mmq_s3_instance_parse(const char *json, size_t size, mmq_s3_keys *out, mmq_why *why)
{
    mmq_buffer packed;
    mmq_reader reader;
    mmq_buffer_init(&packed, PACKED_MAX);
    (void)mmq_buffer_reserve(&packed, PACKED_MAX); /* so that it need not grow: copies stay */
    mmq_buffer_reset(&packed);
    mmq_err err = mmq_json_to_msgpack(json, size, &packed, why);
    if (err == MMQ_OK) {
        mmq_reader_init(&reader, packed.data, packed.size);
        err = take_answer(reader, out) ? MMQ_OK : MMQ_EINVAL;
    }
    if (err != MMQ_OK && err != MMQ_ENOMEM) { /* what JSON's sentence quotes stays here */
        err = mmq_fail(why, MMQ_EINVAL, "the instance's credentials cannot be read");
    }
    if (packed.data != NULL) {
        explicit_bzero(packed.data, packed.capacity);
    }
    mmq_buffer_clear(&packed);
    return err;
}

/* ---- asking ----------------------------------------------------------------------------- */

struct asking {
    mmq_s3_link *link;
    const mmq_watch *watch;
    mmq_buffer origin; /* of the service */
    char token[LABEL_MAX + 1];
};

/* One exchange. MMQ_ENOTFOUND unless it answered 200. */
static mmq_err ask(struct asking *asking, const char *method, const char *path,
                   const mmq_s3_pair *header, mmq_s3_exchange **out, mmq_why *why)
{
    mmq_buffer url;
    mmq_buffer_init(&url, 4 * LABEL_MAX);
    mmq_buffer_add(&url, asking->origin.data, asking->origin.size);
    mmq_buffer_text(&url, path);
    const mmq_s3_ask question = {
        .method = method,
        .url = mmq_buffer_cstr(&url),
        .headers = header,
        .header_count = 1,
        .reply_max = ANSWER_MAX,
        .stall_ns = ANSWER_MS * MMQ_NS_PER_MS,
        .connect_ns = CONNECT_MS * MMQ_NS_PER_MS,
    };
    mmq_err err = question.url == NULL ? mmq_fail(why, MMQ_ENOMEM, "no memory for a request")
                                       : mmq_s3_link_start(asking->link, &question, out, why);
    while (err == MMQ_OK && mmq_s3_exchange_reply(*out)->end == MMQ_S3_PENDING) {
        err = asking->watch->tick(asking->watch->context, "upload", 0, 0, why);
        if (err == MMQ_OK) {
            mmq_s3_link_wait(asking->link, TICK_MS);
        }
    }
    mmq_buffer_clear(&url);
    if (err != MMQ_OK) {
        return err;
    }
    const mmq_s3_reply *reply = mmq_s3_exchange_reply(*out);
    if (reply->end != MMQ_S3_ANSWERED) {
        return mmq_fail(why, MMQ_ENOTFOUND, "the instance's metadata service does not answer");
    }
    return reply->status == 200
               ? MMQ_OK
               : mmq_fail(why, MMQ_ENOTFOUND, "the instance's metadata service answers %d to %s",
                          reply->status,
                          strcmp(method, "PUT") == 0 ? "a request for a token" : "who its role is");
}

/* The answer's first line, which must be one word. */
static bool take_label(const mmq_s3_exchange *exchange, char out[LABEL_MAX + 1])
{
    const mmq_buffer *body = &mmq_s3_exchange_reply(exchange)->body;
    size_t size = 0;
    while (size < body->size && size < LABEL_MAX && body->data[size] > ' ' &&
           body->data[size] < 0x7F) {
        out[size] = (char)body->data[size];
        size++;
    }
    out[size] = '\0';
    return size > 0 && (size == body->size || body->data[size] == '\n' || body->data[size] == '\r');
}

static mmq_err ask_token(struct asking *asking, mmq_why *why)
{
    static const mmq_s3_pair header = {"X-aws-ec2-metadata-token-ttl-seconds", "300"};
    mmq_s3_exchange *exchange = NULL;
    mmq_err err = ask(asking, "PUT", "/latest/api/token", &header, &exchange, why);
    if (err == MMQ_OK && !take_label(exchange, asking->token)) {
        err = mmq_fail(why, MMQ_EINVAL, "the instance's metadata service gives no token");
    }
    mmq_s3_exchange_drop(&exchange);
    return err;
}

static mmq_err ask_role(struct asking *asking, char role[LABEL_MAX + 1], mmq_why *why)
{
    const mmq_s3_pair header = {"X-aws-ec2-metadata-token", asking->token};
    mmq_s3_exchange *exchange = NULL;
    mmq_err err = ask(asking, "GET", ROLES, &header, &exchange, why);
    if (err == MMQ_OK && !take_label(exchange, role)) {
        err = mmq_fail(why, MMQ_ENOTFOUND, "the instance has no role");
    }
    mmq_s3_exchange_drop(&exchange);
    return err;
}

static mmq_err ask_keys(struct asking *asking, const char *role, mmq_s3_keys *out, mmq_why *why)
{
    const mmq_s3_pair header = {"X-aws-ec2-metadata-token", asking->token};
    mmq_s3_exchange *exchange = NULL;
    mmq_buffer path;
    mmq_buffer_init(&path, 4 * LABEL_MAX);
    mmq_buffer_text(&path, ROLES);
    mmq_s3_encode(&path, role, false);
    const char *text = mmq_buffer_cstr(&path);
    mmq_err err = text == NULL ? mmq_fail(why, MMQ_ENOMEM, "no memory for a request")
                               : ask(asking, "GET", text, &header, &exchange, why);
    if (err == MMQ_OK) {
        const mmq_buffer *body = &mmq_s3_exchange_reply(exchange)->body;
        err = mmq_s3_instance_parse((const char *)body->data, body->size, out, why);
    }
    mmq_s3_exchange_drop(&exchange);
    mmq_buffer_clear(&path);
    return err;
}

static mmq_err find_service(struct asking *asking, mmq_why *why)
{
    const char *url = mmq_s3_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", NULL);
    mmq_s3_address address = {.path_style = true};
    mmq_err err = mmq_s3_endpoint_parse(url != NULL ? url : SERVICE, &address.endpoint, why);
    if (err != MMQ_OK) {
        return mmq_fail(why, err, "AWS_EC2_METADATA_SERVICE_ENDPOINT must be http://HOST[:PORT]");
    }
    mmq_buffer_format(&asking->origin, "%s://%s", address.endpoint.is_tls ? "https" : "http",
                      address.endpoint.host);
    if (address.endpoint.port != 0) {
        mmq_buffer_format(&asking->origin, ":%u", address.endpoint.port);
    }
    return MMQ_OK;
}

mmq_err mmq_s3_instance_ask(mmq_s3_keys *out, const mmq_watch *watch, mmq_why *why)
{
    const char *is_off = mmq_s3_env("AWS_EC2_METADATA_DISABLED", NULL);
    char role[LABEL_MAX + 1];
    if (is_off != NULL && strcasecmp(is_off, "true") == 0) {
        return mmq_fail(why, MMQ_ENOTFOUND, "AWS_EC2_METADATA_DISABLED");
    }
    struct asking asking = {.link = mmq_s3_link_new(), .watch = watch};
    mmq_buffer_init(&asking.origin, MMQ_S3_HOST_MAX + sizeof "https://:65535");
    mmq_err err = asking.link == NULL ? mmq_fail(why, MMQ_ENOMEM, "no memory for a request")
                                      : find_service(&asking, why);
    if (err == MMQ_OK) {
        err = ask_token(&asking, why);
    }
    if (err == MMQ_OK) {
        err = ask_role(&asking, role, why);
    }
    if (err == MMQ_OK) {
        err = ask_keys(&asking, role, out, why);
    }
    explicit_bzero(asking.token, sizeof asking.token);
    mmq_buffer_clear(&asking.origin);
    mmq_s3_link_destroy(&asking.link);
    return err;
}
