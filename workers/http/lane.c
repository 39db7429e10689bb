#include "workers/http/lane.h"

#include "broker/base/check.h"
#include "broker/base/time.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, SOCKETS_MIN = 1024 };

struct socket_slot {
        struct lane *lane;     /* NULL: libcurl does not watch it */
        uint32_t generation;   /* tells a late event for an earlier socket of the same number */
        uint32_t registered;   /* EPOLLIN, EPOLLOUT as epoll has them */
        bool in_epoll, opened; /* opened: by lane_socket_open(), so its closing is seen */
};

static uint64_t socket_data(int fd, uint32_t generation) {
        return (uint64_t)generation << 32 | (uint32_t)fd;
}

static struct socket_slot *socket_at(struct lanes *lanes, int fd) {
        size_t index = (size_t)fd;
        if (fd < 0)
                return NULL;
        if (index < lanes->sockets_max)
                return &lanes->sockets[index];
        size_t count = lanes->sockets_max ? lanes->sockets_max : SOCKETS_MIN;
        while (count <= index)
                count *= 2;
        struct socket_slot *sockets = realloc(lanes->sockets, count * sizeof *sockets);
        if (sockets == NULL)
                return NULL;
        memset(sockets + lanes->sockets_max, 0, (count - lanes->sockets_max) * sizeof *sockets);
        lanes->sockets = sockets;
        lanes->sockets_max = count;
        return &lanes->sockets[index];
}

static bool socket_register(struct lanes *lanes, int fd, struct socket_slot *slot, uint32_t events) {
        struct epoll_event event = {.events = events, .data.u64 = socket_data(fd, slot->generation)};
        int op = slot->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
        if (epoll_ctl(lanes->epoll_fd, op, fd, &event) < 0)
                return false;
        slot->in_epoll = true;
        slot->registered = events;
        return true;
}

static void socket_unregister(struct lanes *lanes, int fd, struct socket_slot *slot) {
        if (slot->in_epoll)
                (void)epoll_ctl(lanes->epoll_fd, EPOLL_CTL_DEL, fd,
                                NULL); /* fails only if it is gone already */
        slot->in_epoll = false;
        slot->registered = 0;
        slot->generation++;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data_unused) {
        struct lane *lane = userdata;
        struct lanes *lanes = lane->lanes;
        (void)easy;
        (void)socket_data_unused;
        struct socket_slot *slot = socket_at(lanes, fd);
        if (slot == NULL)
                return -1;
        if (what == CURL_POLL_REMOVE) {
                slot->lane = NULL;
                if (!slot->opened) /* a socket pair of the resolver: nobody would tell when it is closed */
                        socket_unregister(lanes, fd, slot);
                return 0;
        }
        uint32_t events = 0;
        if (what & CURL_POLL_IN)
                events |= EPOLLIN;
        if (what & CURL_POLL_OUT)
                events |= EPOLLOUT;
        slot->lane = lane;
        /* Reading stays on; writing, which is nearly always possible, is asked for only when it is wanted. */
        uint32_t keep = slot->registered & EPOLLIN;
        if (slot->in_epoll && slot->registered == (events | keep))
                return 0;
        return socket_register(lanes, fd, slot, events) ? 0 : -1;
}

static int on_timer(CURLM *multi, long timeout_ms, void *userdata) {
        struct lane *lane = userdata;
        (void)multi;
        if (timeout_ms < 0)
                lane->timer_ns = INT64_MAX;
        else if (timeout_ms == 0)
                lane->timer_ns = 0;
        else
                lane->timer_ns = clock_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
        return 0;
}

static void lane_arm(struct lane *lane) {
        if (lane->timer_ns == lane->armed_ns)
                return;
        if (lane->timer_ns == INT64_MAX)
                heap_remove(&lane->lanes->timers, lane->id);
        else
                heap_set(&lane->lanes->timers, lane->id, lane->timer_ns);
        lane->armed_ns = lane->timer_ns;
}

static void lane_run(struct lane *lane, curl_socket_t fd, int bits) {
        struct lanes *lanes = lane->lanes;
        int running = 0, left = 0;
        if (curl_multi_socket_action(lane->multi, fd, bits, &running) != CURLM_OK)
                lane->failed = true; /* no memory: its transfers end by their time limits */
        const CURLMsg *message;
        while ((message = curl_multi_info_read(lane->multi, &left)) != NULL)
                if (message->msg == CURLMSG_DONE)
                        lanes->events.done(lanes->userdata, lane, message->easy_handle,
                                           (int)message->data.result);
        if (lanes->events.ran)
                lanes->events.ran(lanes->userdata, lane);
        lane_arm(lane);
}

static void socket_event(struct lanes *lanes, const struct epoll_event *event) {
        int fd = (int)(event->data.u64 & UINT32_MAX);
        struct socket_slot *slot = &lanes->sockets[fd];
        if (slot->generation != (uint32_t)(event->data.u64 >> 32))
                return;
        if (slot->lane == NULL) { /* idle: the other side closed it, or says something nobody asked for */
                socket_unregister(lanes, fd, slot);
                return;
        }
        int bits = 0;
        if (event->events & (EPOLLIN | EPOLLHUP))
                bits |= CURL_CSELECT_IN;
        if (event->events & EPOLLOUT)
                bits |= CURL_CSELECT_OUT;
        if (event->events & EPOLLERR)
                bits |= CURL_CSELECT_ERR;
        lane_run(slot->lane, fd, bits);
}

bool lanes_turn(struct lanes *lanes, int64_t now_ns) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(lanes->epoll_fd, events, EVENTS_MAX, 0);
        for (int i = 0; i < count; i++)
                socket_event(lanes, &events[i]);
        struct heap_entry entry;
        for (uint32_t i = 0; i < lanes->lanes_max; i++) {
                if (!heap_peek(&lanes->timers, &entry) || entry.when > now_ns)
                        break;
                struct lane *lane = lanes->lanes[entry.id];
                heap_remove(&lanes->timers, entry.id);
                lane->armed_ns = lane->timer_ns = INT64_MAX;
                lane_run(lane, CURL_SOCKET_TIMEOUT, 0);
        }
        return count == EVENTS_MAX;
}

int64_t lanes_wake_ns(const struct lanes *lanes) {
        struct heap_entry entry;
        return heap_peek(&lanes->timers, &entry) ? entry.when : INT64_MAX;
}

struct error *lanes_init(struct lanes *lanes, uint32_t lanes_max, struct lane_events events, void *userdata) {
        *lanes = (struct lanes){.epoll_fd = -1, .events = events, .userdata = userdata};
        lanes->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (lanes->epoll_fd < 0)
                return error_errno(errno, "cannot create an epoll descriptor");
        lanes->lanes = calloc(lanes_max, sizeof(struct lane *));
        lanes->ids_free = calloc(lanes_max, sizeof *lanes->ids_free);
        if (lanes->lanes == NULL || lanes->ids_free == NULL || !heap_init(&lanes->timers, lanes_max) ||
            socket_at(lanes, 0) == NULL) {
                lanes_deinit(lanes);
                return error_new(ERROR_MEMORY, "no memory for %u HTTP lanes", lanes_max);
        }
        lanes->lanes_max = lanes_max;
        for (uint32_t i = 0; i < lanes_max; i++)
                lanes->ids_free[lanes->ids_free_count++] = lanes_max - 1 - i;
        return NULL;
}

void lanes_deinit(struct lanes *lanes) {
        CHECK(lanes->ids_free_count == lanes->lanes_max);
        if (lanes->epoll_fd >= 0)
                close(lanes->epoll_fd);
        heap_deinit(&lanes->timers);
        free(lanes->sockets);
        free(lanes->lanes);
        free(lanes->ids_free);
        *lanes = (struct lanes){.epoll_fd = -1};
}

struct error *lane_init(struct lane *lane, struct lanes *lanes, const struct lane_options *options) {
        if (lanes->ids_free_count == 0)
                return error_new(ERROR_BUSY, "all %u HTTP lanes are in use", lanes->lanes_max);
        CURLM *multi = curl_multi_init();
        if (multi == NULL)
                return error_new(ERROR_MEMORY, "no memory for an HTTP lane");
        *lane = (struct lane){
                .lanes = lanes,
                .multi = multi,
                .id = lanes->ids_free[lanes->ids_free_count - 1],
                .timer_ns = INT64_MAX,
                .armed_ns = INT64_MAX,
        };
        /* curl_multi_setopt() cannot fail for options that this libcurl knows. */
        curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, lane);
        curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(multi, CURLMOPT_TIMERDATA, lane);
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)options->connections_max);
        curl_multi_setopt(multi, CURLMOPT_PIPELINING,
                          options->multiplex ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
        if (options->multiplex)
                curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)options->streams_max);
        lanes->ids_free_count--;
        lanes->lanes[lane->id] = lane;
        return NULL;
}

void lane_deinit(struct lane *lane) {
        struct lanes *lanes = lane->lanes;
        CHECK(curl_multi_cleanup(lane->multi) == CURLM_OK);
        heap_remove(&lanes->timers, lane->id);
        lanes->lanes[lane->id] = NULL;
        lanes->ids_free[lanes->ids_free_count++] = lane->id;
        lane->multi = NULL;
}

bool lane_add(struct lane *lane, void *easy) {
        if (curl_multi_add_handle(lane->multi, easy) != CURLM_OK)
                return false;
        lane_run(lane, CURL_SOCKET_TIMEOUT, 0);
        return true;
}

void lane_remove(struct lane *lane, void *easy) {
        CHECK(curl_multi_remove_handle(lane->multi, easy) == CURLM_OK);
        lane_arm(lane);
}

int lane_socket_open(struct lanes *lanes, int family, int type, int protocol) {
        int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
        if (fd < 0)
                return -1;
        struct socket_slot *slot = socket_at(lanes, fd);
        if (slot == NULL) {
                close(fd);
                errno = ENOMEM;
                return -1;
        }
        *slot = (struct socket_slot){.generation = slot->generation + 1, .opened = true};
        lanes->sockets_open++;
        return fd;
}

int lane_socket_close(struct lanes *lanes, int fd) {
        struct socket_slot *slot = socket_at(lanes, fd);
        if (slot != NULL) { /* close() takes it out of epoll */
                lanes->sockets_open -= slot->opened;
                *slot = (struct socket_slot){.generation = slot->generation + 1};
        }
        return close(fd);
}
