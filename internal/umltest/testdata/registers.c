// The kernel of user-mode Linux 6.1 has room for 2,696 octets of a process's registers. A processor
// may have more (AMX: 11 KiB), and Linux takes back all of them or none: PTRACE_SETREGSET fails
// with EFAULT, and the machine ends in a panic. Here what it has no room for stays as it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(enum __ptrace_request, ...);
	if (!next) next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
	va_list args;
	va_start(args, request);
	pid_t pid = va_arg(args, pid_t);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);
	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		static char all[64 << 10];
		struct iovec has = {all, sizeof all}, *some = data;
		if (next(PTRACE_GETREGSET, pid, addr, &has) == 0 && has.iov_len > some->iov_len) {
			memcpy(all, some->iov_base, some->iov_len);
			data = &has;
		}
	}
	return next(request, pid, addr, data);
}
