/*
 * A runner in C, as an example of docs/worker-protocol.md: mode warm for "scripts" that
 * are templates. ${NAME} in the template becomes the value of the request's variable NAME.
 *
 *   cc -o worker docs/examples/worker.c
 *   gateway worker --runner ./worker hello.tmpl --query a=1
 *
 * It shows all that a runner must do, with the least code: what a real one adds is an
 * interpreter that has loaded the script.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

enum { CONTROL = 3, RUNNER = 4, MAX_CHILDREN = 4096 };

static const char *script, *cookie = "", *mode = "warm";
static struct sockaddr_un where = {.sun_family = AF_UNIX};
static pid_t children[MAX_CHILDREN];
static int n_children;

/* A line is one write: the control socket is shared with the workers. */
static void say(const char *format, const char *word, long a, long b, long c, long d)
{
	char escaped[4096], line[8192], *e = escaped;
	for (const unsigned char *w = (const unsigned char *)word; *w && e < escaped + sizeof escaped - 4; w++)
		e += *w > ' ' && *w < 0x7f && *w != '%' ? (*e = (char)*w, 1) : sprintf(e, "%%%02X", *w);
	*e = 0;
	int n = snprintf(line, sizeof line, format, escaped, a, b, c, d);
	if (write(CONTROL, line, (size_t)n) != n)
		_exit(1);
}

/* Reads n octets, or ends: the gateway has gone, or does not want this worker any more. */
static void read_all(int fd, char *to, size_t n)
{
	while (n > 0) {
		ssize_t got = read(fd, to, n);
		if (got <= 0)
			_exit(0);
		to += got;
		n -= (size_t)got;
	}
}

/* Reads a netstring of pairs, octet by octet up to the colon: what follows it is not ours. */
static char *read_pairs(int fd, size_t *size)
{
	char c;
	for (*size = 0; read_all(fd, &c, 1), c != ':';)
		*size = *size * 10 + (size_t)(c - '0');
	char *text = malloc(*size + 1);
	read_all(fd, text, *size + 1); /* and the comma */
	return text;
}

static void take_order(void)
{
	size_t size;
	char *p = read_pairs(CONTROL, &size), *end = p + size;
	while (p < end) {
		char *name = p, *value = name + strlen(name) + 1;
		p = value + strlen(value) + 1;
		if (!strcmp(name, "cookie"))
			cookie = value;
		else if (!strcmp(name, "mode"))
			mode = value;
		else if (!strcmp(name, "script"))
			script = value;
		else if (!strcmp(name, "socket"))
			strncpy(where.sun_path, value, sizeof where.sun_path - 1);
	}
}

static int connect_to_gateway(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&where, sizeof where) < 0)
		_exit(1);
	return fd;
}

/* The script itself: its template, which was read before the fork. */
static void answer(const char *template)
{
	printf("Content-Type: text/plain\n\n");
	for (const char *t = template; *t;) {
		char name[256];
		int n = 0;
		if (sscanf(t, "${%255[A-Z_]}%n", name, &n) == 1 && n > 0) {
			const char *value = getenv(name);
			fputs(value ? value : "", stdout);
			t += n;
		} else {
			putchar(*t++);
		}
	}
}

static void worker(const char *template)
{
	setpgid(0, 0);
	fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
	int errors = connect_to_gateway();
	dup2(errors, 2);
	close(errors);

	int request = connect_to_gateway();
	size_t size;
	char *p = read_pairs(request, &size), *end = p + size;
	clearenv();
	while (p < end) {
		char *name = p, *value = name + strlen(name) + 1;
		p = value + strlen(value) + 1;
		if (name[0] != '=') /* =arg and the like are not for the environment */
			setenv(name, value, 1);
	}
	const char *length = getenv("CONTENT_LENGTH");
	int in = length && atol(length) > 0 ? request : open("/dev/null", O_RDONLY);
	dup2(in, 0);
	dup2(request, 1);
	close(request);

	answer(template);
	fflush(stdout);
	say("done %2$ld %3$ld -\n", "", getpid(), 0, 0, 0);
	_exit(0);
}

static void reap(void)
{
	int status;
	struct rusage u;
	for (pid_t pid; n_children > 0 && (pid = wait4(-1, &status, WNOHANG, &u)) > 0;)
		for (int i = 0; i < n_children; i++)
			if (children[i] == pid) {
				children[i] = children[--n_children];
				say("exit %2$ld %3$ld %4$ld %5$ld\n", "", pid, status, u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec,
				    u.ru_stime.tv_sec * 1000000 + u.ru_stime.tv_usec);
				break;
			}
}

static void leave(void)
{
	for (int i = 0; i < n_children; i++)
		kill(-children[i], SIGKILL);
	_exit(0);
}

static void on_child(int signal) { (void)signal; }
static void on_term(int signal) { (void)signal, leave(); }

int main(void)
{
	static char template[1 << 16];
	close(RUNNER);
	take_order();
	say("hello 1 %s c 1.0\n", cookie, 0, 0, 0, 0);
	FILE *f = fopen(script, "r");
	if (!f || strcmp(mode, "warm")) {
		say("failed %s\n", f ? "only mode warm" : "cannot open the template", 0, 0, 0, 0);
		return 1;
	}
	template[fread(template, 1, sizeof template - 1, f)] = 0;
	fclose(f);
	say("file %s\n", script, 0, 0, 0, 0);
	say("ready\n", "", 0, 0, 0, 0);

	/* SIGCHLD and SIGTERM come only while ppoll waits. */
	sigset_t blocked, open_;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &open_);
	signal(SIGCHLD, on_child);
	signal(SIGTERM, on_term);
	struct pollfd control = {.fd = CONTROL, .events = POLLIN};
	char lines[4096];
	struct timespec pause = {.tv_nsec = 50000000};
	size_t have = 0;
	int wanted = 0; /* stays when a fork is refused, by a limit of processes */
	for (int stopping = 0; !stopping || n_children > 0; reap()) {
		if (ppoll(&control, 1, wanted > 0 ? &pause : NULL, &open_) > 0) {
			ssize_t got = read(CONTROL, lines + have, sizeof lines - have - 1);
			if (got <= 0)
				leave();
			lines[have += (size_t)got] = 0;
		}
		for (char *end; have > 0 && (end = strchr(lines, '\n'));) {
			int n = 0;
			*end = 0;
			if (!strcmp(lines, "stop"))
				stopping = 1;
			else if (sscanf(lines, "fork %d", &n) == 1)
				wanted += n;
			have -= (size_t)(end + 1 - lines);
			memmove(lines, end + 1, have + 1);
		}
		for (; wanted > 0 && !stopping && n_children < MAX_CHILDREN; wanted--) {
			pid_t pid = fork();
			if (pid < 0)
				break;
			if (pid == 0) {
				signal(SIGCHLD, SIG_DFL);
				signal(SIGTERM, SIG_DFL);
				sigprocmask(SIG_SETMASK, &open_, NULL);
				worker(template);
			}
			children[n_children++] = pid;
			say("forked %2$ld\n", "", pid, 0, 0, 0);
		}
	}
	return 0;
}
