/* What the adapter is given by its user, before anything is made of it. */
#ifndef MMQ_HTTP_SETTINGS_H
#define MMQ_HTTP_SETTINGS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "clients/http/http.h"
#include "clients/http/keys.h"
#include "clients/http/tls.h"

/* Clients need a key. */
bool mmq_http_settings_keyed(const mmq_http_settings *settings);
/* What is not wrong with the keys, but should be seen; NULL: nothing. */
const char *mmq_http_settings_weakness(const mmq_http_settings *settings, const mmq_keys *keys);
/* Each MMQ_EINVAL with a sentence. */
mmq_err mmq_http_origins_check(const mmq_http_settings *settings, mmq_why *why) MMQ_MUST_USE;
/* *tls holds nothing where none is wanted. The caller clears it. */
mmq_err mmq_http_tls_load(const mmq_http_settings *settings, mmq_tls *tls,
                          mmq_why *why) MMQ_MUST_USE;
/* Whether it may listen there without a key. */
mmq_err mmq_http_open_check(const mmq_http_settings *settings, const struct sockaddr_storage *bound,
                            mmq_why *why) MMQ_MUST_USE;

#endif
