/* Colours say what somebody should look at, and nothing else: red for what is wrong, yellow for
 * what is at a bound; a "!" before the row says it where there are no colours.
 *
 * The workers' table takes what the services' leaves of the height, but neither less than half. */
#include "clients/commands/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calendar.h"
#include "lib/clock.h"

#define GIB (1024.0 * 1024 * 1024)

enum { BROKER_COLUMNS = 130 /* that the broker's line takes; below it is two */ };

/* ---- samples of workers -------------------------------------------------------------------- */

void mmq_spool_sample_read(mmq_reader map, mmq_spool_sample *out)
{
    mmq_value error;
    mmq_reader at;
    *out = (mmq_spool_sample){.known = true,
                              .jobs = mmq_sample_number(map, "jobs"),
                              .bytes = mmq_sample_number(map, "bytes"),
                              .oldest_s = mmq_sample_number(map, "oldest_age_s"),
                              .quarantined = mmq_sample_number(map, "quarantined"),
                              .waiting = mmq_sample_number(map, "waiting"),
                              .settings = mmq_sample_number(map, "settings"),
                              .held = mmq_sample_number(map, "held")};
    if (mmq_map_find(map, "last_error", &error, &at) && error.type == MMQ_STR) {
        out->error_size = error.text.size < sizeof out->error ? error.text.size : sizeof out->error;
        memcpy(out->error, error.text.data, out->error_size);
    }
}

void mmq_store_sample_read(mmq_reader map, mmq_store_sample *out)
{
    *out = (mmq_store_sample){.known = true,
                              .bytes = mmq_sample_number(map, "bytes"),
                              .log_bytes = mmq_sample_number(map, "log_bytes"),
                              .free_bytes = mmq_sample_number(map, "free_bytes"),
                              .disk_free_bytes = mmq_sample_number(map, "disk_free_bytes")};
}

/* ---- columns ------------------------------------------------------------------------------- */

enum {
    S_NAME,
    S_WORKERS,
    S_BUSY,
    S_QUEUED,
    S_REQUESTS,
    S_P50,
    S_P99,
    S_WAIT,
    S_ERRORS,
    S_IN,
    S_OUT,
    S_COUNT
};
enum { W_NUMBER, W_SERVICE, W_NAME, W_LOAD, W_REQUESTS, W_AGE, W_HEARD, W_COUNT };

static const mmq_column service_columns[2][S_COUNT] = {
    {{"SERVICE", MMQ_CELL_TEXT, 20, 0},
     {"WORKERS", MMQ_CELL_COUNT, 7, 7},
     {"BUSY", MMQ_CELL_SHARE, 9, 3},
     {"QUEUED", MMQ_CELL_COUNT, 7, 2},
     {"REQUESTS", MMQ_CELL_COUNT, 9, 1},
     {"P50", MMQ_CELL_TIME, 6, 5},
     {"P99", MMQ_CELL_TIME, 6, 4},
     {"WAIT99", MMQ_CELL_TIME, 7, 9},
     {"ERRORS", MMQ_CELL_COUNT, 7, 8},
     {"IN", MMQ_CELL_BYTES, 9, 10},
     {"OUT", MMQ_CELL_BYTES, 9, 6}},
    {{"SERVICE", MMQ_CELL_TEXT, 20, 0},
     {"WORKERS", MMQ_CELL_COUNT, 7, 7},
     {"BUSY", MMQ_CELL_SHARE, 9, 3},
     {"QUEUED", MMQ_CELL_COUNT, 7, 2},
     {"REQ/S", MMQ_CELL_RATE, 9, 1},
     {"P50", MMQ_CELL_TIME, 6, 5},
     {"P99", MMQ_CELL_TIME, 6, 4},
     {"WAIT99", MMQ_CELL_TIME, 7, 9},
     {"ERR/S", MMQ_CELL_RATE, 7, 8},
     {"IN/S", MMQ_CELL_BYTES, 9, 10},
     {"OUT/S", MMQ_CELL_BYTES, 9, 6}},
};

static const mmq_column worker_columns[2][W_COUNT] = {
    {{"WORKER", MMQ_CELL_COUNT, 7, 0},
     {"SERVICE", MMQ_CELL_TEXT, 20, 1},
     {"NAME", MMQ_CELL_TEXT, 16, 6},
     {"LOAD", MMQ_CELL_SHARE, 9, 2},
     {"REQUESTS", MMQ_CELL_COUNT, 9, 3},
     {"AGE", MMQ_CELL_TIME, 5, 4},
     {"HEARD", MMQ_CELL_TIME, 6, 5}},
    {{"WORKER", MMQ_CELL_COUNT, 7, 0},
     {"SERVICE", MMQ_CELL_TEXT, 20, 1},
     {"NAME", MMQ_CELL_TEXT, 16, 6},
     {"LOAD", MMQ_CELL_SHARE, 9, 2},
     {"REQ/S", MMQ_CELL_RATE, 9, 3},
     {"AGE", MMQ_CELL_TIME, 5, 4},
     {"HEARD", MMQ_CELL_TIME, 6, 5}},
};

void mmq_view_init(mmq_view *view, bool watching)
{
    *view = (mmq_view){.watching = watching};
    view->tables[MMQ_VIEW_SERVICES] = (mmq_view_table){.sorted_by = S_NAME};
    view->tables[MMQ_VIEW_WORKERS] = (mmq_view_table){.sorted_by = W_SERVICE};
}

size_t mmq_view_columns(size_t table)
{
    return table == MMQ_VIEW_SERVICES ? S_COUNT : W_COUNT;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static mmq_cell text_cell(const char *text, size_t size)
{
    return (mmq_cell){.text = text, .size = size};
}

static mmq_cell cell(double value)
{
    return (mmq_cell){.value = value};
}

/* A share that is full is a bound. */
static mmq_cell share_cell(double value, double of)
{
    bool full = of > 0 && value >= of;
    return (mmq_cell){value, of, .style = full ? MMQ_STYLE_WARN : MMQ_STYLE_PLAIN};
}

/* What a counter says: since the start, or a second between two samples. */
struct span {
    bool rates;
    double seconds; /* NaN: not known */
};

static double since(const struct span *span, double now, const double *before)
{
    if (!span->rates) {
        return now;
    }
    return before != NULL ? (now - *before) / span->seconds : NAN;
}

static struct span span_of(const mmq_view *view)
{
    return (struct span){view->watching,
                         view->before != NULL ? mmq_sample_span(view->before, view->now) : NAN};
}

static void fill_times(const struct span *span, const mmq_service_sample *service,
                       const mmq_service_sample *before, mmq_row *out)
{
    static const mmq_spread none = {.buckets = 0};
    bool known = !span->rates || (before != NULL && !isnan(span->seconds));
    mmq_spread took =
        known ? mmq_spread_since(before != NULL ? &before->took : NULL, &service->took) : none;
    mmq_spread waited =
        known ? mmq_spread_since(before != NULL ? &before->waited : NULL, &service->waited) : none;
    out->cells[S_P50] = cell(mmq_spread_quantile(&took, 0.5));
    out->cells[S_P99] = cell(mmq_spread_quantile(&took, 0.99));
    out->cells[S_WAIT] = cell(mmq_spread_quantile(&waited, 0.99));
}

#define SINCE(field_) since(&span, service->field_, before != NULL ? &before->field_ : NULL)

static void fill_service(const mmq_view *view, const mmq_service_sample *service, mmq_row *out)
{
    const struct span span = span_of(view);
    const mmq_service_sample *before =
        span.rates && view->before != NULL ? mmq_sample_service(view->before, service) : NULL;
    bool stranded = service->workers == 0 && service->queued > 0;
    out->cells[S_NAME] = text_cell(service->name, service->name_size);
    out->cells[S_WORKERS] = cell(service->workers);
    out->cells[S_BUSY] = share_cell(service->busy, service->capacity);
    out->cells[S_QUEUED] = cell(service->queued);
    out->cells[S_REQUESTS] = cell(SINCE(requests));
    fill_times(&span, service, before, out);
    out->cells[S_ERRORS] = cell(SINCE(errors));
    out->cells[S_IN] = cell(SINCE(bytes_in));
    out->cells[S_OUT] = cell(SINCE(bytes_out));
    bool errs = span.rates && out->cells[S_ERRORS].value > 0;
    out->cells[S_WORKERS].style = stranded ? MMQ_STYLE_BAD : MMQ_STYLE_PLAIN;
    out->cells[S_QUEUED].style = service->queued > 0 ? MMQ_STYLE_WARN : MMQ_STYLE_PLAIN;
    out->cells[S_ERRORS].style = errs ? MMQ_STYLE_BAD : MMQ_STYLE_PLAIN;
    out->marked = stranded || errs;
}

static void fill_worker(const mmq_view *view, const mmq_worker_sample *worker, mmq_row *out)
{
    enum { SILENT_S = 3 }; /* only workers of others are allowed to be */
    const struct span span = span_of(view);
    const mmq_worker_sample *before =
        span.rates && view->before != NULL ? mmq_sample_worker(view->before, worker) : NULL;
    out->cells[W_NUMBER] = cell(worker->number < 0 ? NAN : worker->number);
    out->cells[W_SERVICE] = text_cell(worker->service, worker->service_size);
    out->cells[W_NAME] = text_cell(worker->name, worker->name_size);
    out->cells[W_LOAD] = share_cell(worker->held, worker->capacity);
    out->cells[W_REQUESTS] =
        cell(since(&span, worker->requests, before != NULL ? &before->requests : NULL));
    out->cells[W_AGE] = cell(worker->ready_s);
    out->cells[W_HEARD] = cell(worker->heard_s);
    out->cells[W_HEARD].style = worker->heard_s > SILENT_S ? MMQ_STYLE_WARN : MMQ_STYLE_PLAIN;
}

/* ---- head ---------------------------------------------------------------------------------- */

static void add_number(mmq_canvas *canvas, mmq_style style, const char *before,
                       void (*print)(double value, char out[MMQ_CELL_MAX]), double value,
                       const char *after)
{
    char text[MMQ_CELL_MAX];
    print(value, text);
    mmq_canvas_add(canvas, MMQ_STYLE_PLAIN, before);
    mmq_canvas_add(canvas, style, text);
    mmq_canvas_add(canvas, MMQ_STYLE_PLAIN, after);
}

static void add_time(mmq_canvas *canvas, const char *before, double seconds)
{
    char text[MMQ_CELL_MAX];
    mmq_print_time(seconds, canvas->utf8, text);
    mmq_canvas_format(canvas, MMQ_STYLE_PLAIN, "%s%s", before, text);
}

static mmq_style bad_if(bool bad)
{
    return bad ? MMQ_STYLE_BAD : MMQ_STYLE_PLAIN;
}

static void draw_broker(const mmq_view *view, mmq_canvas *canvas)
{
    const mmq_sample *now = view->now;
    mmq_canvas_add(canvas, MMQ_STYLE_HEAD, "broker ");
    mmq_canvas_foreign(canvas, MMQ_STYLE_HEAD, view->endpoint, strlen(view->endpoint), 0);
    if (view->silent_s > 0) {
        mmq_canvas_format(canvas, MMQ_STYLE_BAD, "  no answer for %.0f s, asking on",
                          view->silent_s);
    }
    if (now == NULL) {
        mmq_canvas_end_line(canvas);
        return;
    }
    add_time(canvas, "  up ", now->uptime_s);
    add_number(canvas, MMQ_STYLE_PLAIN, "  clients ", mmq_print_count, now->clients, "");
    add_number(canvas, MMQ_STYLE_PLAIN, "  connections ", mmq_print_count,
               now->client_connections + now->worker_connections, "");
    if (canvas->columns > 0 && canvas->columns < BROKER_COLUMNS) {
        mmq_canvas_end_line(canvas);
        mmq_canvas_add(canvas, MMQ_STYLE_PLAIN, "     ");
    }
    add_number(canvas, bad_if(now->descriptors > 0.8 * now->descriptors_max), "  descriptors ",
               mmq_print_count, now->descriptors, "");
    add_number(canvas, MMQ_STYLE_PLAIN, " of ", mmq_print_count, now->descriptors_max, "");
    add_number(canvas, MMQ_STYLE_PLAIN, "  memory ", mmq_print_bytes, now->memory, "");
    add_number(canvas, MMQ_STYLE_PLAIN, "  dropped ", mmq_print_count, now->dropped, "");
    mmq_canvas_end_line(canvas);
}

/* Bytes that not every store has. */
static void add_known(mmq_canvas *canvas, mmq_style style, const char *before, double bytes,
                      const char *after)
{
    if (!isnan(bytes)) {
        add_number(canvas, style, before, mmq_print_bytes, bytes, after);
    }
}

static void draw_store(const mmq_view *view, mmq_canvas *canvas)
{
    const mmq_store_sample *store = view->store;
    mmq_canvas_add(canvas, MMQ_STYLE_HEAD, "store ");
    if (!store->known) {
        mmq_canvas_add(canvas, MMQ_STYLE_PLAIN,
                       store->denied ? "not known: this key has no right to read"
                                     : "not known: no query worker has told it");
        mmq_canvas_end_line(canvas);
        return;
    }
    bool tight = store->disk_free_bytes < GIB || store->disk_free_bytes < store->bytes / 10;
    add_number(canvas, MMQ_STYLE_PLAIN, "", mmq_print_bytes, store->bytes, "");
    add_known(canvas, MMQ_STYLE_PLAIN, ", of it free ", store->free_bytes, "");
    add_known(canvas, MMQ_STYLE_PLAIN, "; its log ", store->log_bytes, "");
    add_known(canvas, bad_if(tight), "; its disk has ", store->disk_free_bytes, " left");
    mmq_canvas_end_line(canvas);
}

static void draw_spool(const mmq_view *view, mmq_canvas *canvas)
{
    const mmq_spool_sample *spool = view->spool;
    mmq_canvas_add(canvas, MMQ_STYLE_HEAD, "spool ");
    if (!spool->known) {
        mmq_canvas_add(canvas, MMQ_STYLE_PLAIN,
                       spool->denied ? "not known: this key has no right to feedback"
                                     : "not known: no feedback worker has told it");
        mmq_canvas_end_line(canvas);
        return;
    }
    add_number(canvas, MMQ_STYLE_PLAIN, "", mmq_print_count, spool->jobs, " jobs");
    add_number(canvas, MMQ_STYLE_PLAIN, " (", mmq_print_count, spool->waiting, " waiting");
    add_number(canvas, bad_if(spool->settings > 0), ", ", mmq_print_count, spool->settings,
               " settings");
    add_number(canvas, bad_if(spool->held > 0), ", ", mmq_print_count, spool->held, " held)");
    add_number(canvas, MMQ_STYLE_PLAIN, ", ", mmq_print_bytes, spool->bytes, "");
    add_time(canvas, ", oldest ", spool->jobs > 0 ? spool->oldest_s : NAN);
    add_number(canvas, bad_if(spool->quarantined > 0), ", ", mmq_print_count, spool->quarantined,
               " in quarantine");
    mmq_canvas_end_line(canvas);
    if (spool->error_size > 0) {
        mmq_canvas_add(canvas, MMQ_STYLE_PLAIN, "last error: ");
        mmq_canvas_foreign(canvas, MMQ_STYLE_PLAIN, spool->error, spool->error_size, 0);
        mmq_canvas_end_line(canvas);
    }
}

/* A service of ours that nobody serves is in no list of the broker's. */
static void draw_missing(const mmq_view *view, mmq_canvas *canvas)
{
    static const char *const names[] = {MMQ_SERVICE_QUERY, MMQ_SERVICE_WRITE, MMQ_SERVICE_FEEDBACK};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mmq_service_sample like = {.name_size = strlen(names[i])};
        memcpy(like.name, names[i], like.name_size);
        const mmq_service_sample *found = mmq_sample_service(view->now, &like);
        if (found == NULL || found->workers == 0) {
            mmq_canvas_format(canvas, MMQ_STYLE_BAD, "! no worker serves %s", names[i]);
            mmq_canvas_end_line(canvas);
        }
    }
}

static void draw_head(const mmq_view *view, mmq_canvas *canvas)
{
    draw_broker(view, canvas);
    if (view->now != NULL) {
        draw_store(view, canvas);
        draw_spool(view, canvas);
        draw_missing(view, canvas);
    }
    mmq_canvas_end_line(canvas);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static const char *const help_lines[] = {
    "q, Ctrl-C     quit",
    "Tab           the other table: services, workers",
    "left, right   sort by another column (also < and >)",
    "r             the other way round",
    "up, down      move the rows (also k and j)",
    "space         ask now",
    "h, ?          this page, and back",
    "",
    "Rates, P50 and P99 (of times from receipt to the last answer) and WAIT99 (of",
    "times in the queue) are those between the last two answers of the broker.",
    "BUSY, LOAD: requests at workers, of those that they take at once. HEARD: since",
    "the last sign of life. A wider window has more columns.",
};

static void draw_help(mmq_canvas *canvas)
{
    for (size_t i = 0; i < sizeof help_lines / sizeof *help_lines; i++) {
        mmq_canvas_add(canvas, MMQ_STYLE_PLAIN, help_lines[i]);
        mmq_canvas_end_line(canvas);
    }
}

static mmq_grid grid_of(const mmq_view *view, size_t table, mmq_row *rows, size_t count)
{
    const mmq_view_table *state = &view->tables[table];
    return (mmq_grid){.columns = table == MMQ_VIEW_SERVICES ? service_columns[view->watching]
                                                            : worker_columns[view->watching],
                      .column_count = mmq_view_columns(table),
                      .rows = rows,
                      .row_count = count,
                      .sorted_by = state->sorted_by,
                      .ascending = state->ascending,
                      .focused = view->focus == table,
                      .offset = state->offset};
}

/* Lines for the first of two tables that want so many, with an empty line between them. */
static size_t share_lines(size_t room, size_t first, size_t second)
{
    size_t both = room > 1 ? room - 1 : 0;
    if (first + second <= both) {
        return first;
    }
    size_t half = both / 2;
    size_t left = both > second ? both - second : 0;
    size_t most = half > left ? half : left;
    return first < most ? first : most;
}

static void draw_table(mmq_view *view, size_t table, mmq_grid *grid, mmq_canvas *canvas,
                       size_t lines)
{
    mmq_grid_draw(grid, canvas, lines);
    view->tables[table].offset = grid->offset;
}

static void draw_tables(mmq_view *view, mmq_canvas *canvas, mmq_grid *services, mmq_grid *workers)
{
    size_t last = view->watching ? 1 : 0; /* the line about keys */
    size_t used = canvas->row + last;
    size_t room = canvas->rows > used ? canvas->rows - used : 1;
    size_t first = 0, second = 0; /* all */
    if (canvas->rows > 0) {
        first = share_lines(room, mmq_grid_lines(services), mmq_grid_lines(workers));
        second = room > first + 1 ? room - first - 1 : 1;
        first = first > 0 ? first : 1;
    }
    draw_table(view, MMQ_VIEW_SERVICES, services, canvas, first);
    mmq_canvas_end_line(canvas);
    draw_table(view, MMQ_VIEW_WORKERS, workers, canvas, second);
}

static void draw_keys(mmq_canvas *canvas)
{
    char now[MMQ_TIME_TEXT];
    while (canvas->row + 1 < canvas->rows) {
        mmq_canvas_end_line(canvas);
    }
    mmq_time_print(mmq_wall_s(), now);
    mmq_canvas_format(canvas, MMQ_STYLE_DIM, "%.8s UTC  q quit  h help  Tab, < >, r sort",
                      now + 11);
    mmq_canvas_end_line(canvas);
}

mmq_err mmq_view_draw(mmq_view *view, mmq_canvas *canvas)
{
    const mmq_sample *now = view->now;
    size_t services = now != NULL ? now->service_count : 0;
    size_t workers = now != NULL ? now->worker_count : 0;
    mmq_row *rows = calloc(services + workers + 1, sizeof *rows);
    if (rows == NULL) {
        return MMQ_ENOMEM;
    }
    for (size_t i = 0; i < services; i++) {
        fill_service(view, &now->services[i], &rows[i]);
    }
    for (size_t i = 0; i < workers; i++) {
        fill_worker(view, &now->workers[i], &rows[services + i]);
    }
    mmq_grid grids[] = {grid_of(view, MMQ_VIEW_SERVICES, rows, services),
                        grid_of(view, MMQ_VIEW_WORKERS, rows + services, workers)};
    mmq_grid_sort(&grids[MMQ_VIEW_SERVICES]);
    mmq_grid_sort(&grids[MMQ_VIEW_WORKERS]);
    draw_head(view, canvas);
    if (view->help) {
        draw_help(canvas);
    } else if (now != NULL) {
        draw_tables(view, canvas, &grids[MMQ_VIEW_SERVICES], &grids[MMQ_VIEW_WORKERS]);
    }
    if (view->watching) {
        draw_keys(canvas);
    }
    free(rows);
    return canvas->out->failed ? MMQ_ENOMEM : MMQ_OK;
}
