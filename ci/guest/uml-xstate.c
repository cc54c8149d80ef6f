/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uml-xstate.c - lets User-mode Linux 6.1 run on processors with AMX.
 *
 * Preloaded into linux.uml.  It saves and restores a process's registers by
 * ptrace in a buffer of 2696 bytes, which was all there was before AMX.  Reading
 * gives it the first 2696 bytes; writing that many is refused by a kernel whose
 * state is larger (EFAULT), and the guest dies before its first instruction.
 *
 * Here a refused write is done again with what was meant: the whole state as
 * it is, the caller's bytes over its beginning, and the components behind
 * them (AMX's, which no guest can have) in their initial state.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define NT_X86_XSTATE	0x202
#define XSTATE_BV	512	/* offset of the mask of components that are not initial */
#define AMX		(UINT64_C(3) << 17)

typedef long ptrace_function(int request, pid_t pid, void *address, void *data);

static long write_all(ptrace_function *real, pid_t pid, const struct iovec *part)
{
	static _Thread_local unsigned char state[1 << 16] __attribute__((aligned(64)));
	struct iovec all = { .iov_base = state, .iov_len = sizeof(state) };
	uint64_t components;

	if (real(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &all) < 0)
		return -1;
	if (all.iov_len <= part->iov_len || part->iov_len < XSTATE_BV + sizeof(components)) {
		errno = EFAULT;
		return -1;
	}
	memcpy(state, part->iov_base, part->iov_len);
	memcpy(&components, state + XSTATE_BV, sizeof(components));
	components &= ~AMX;
	memcpy(state + XSTATE_BV, &components, sizeof(components));
	return real(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_function *real;
	void *address, *data;
	va_list arguments;
	pid_t pid;
	long result;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ptrace");
	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);

	result = real((int)request, pid, address, data);
	if (result < 0 && errno == EFAULT && request == PTRACE_SETREGSET &&
	    (uintptr_t)address == NT_X86_XSTATE)
		return write_all(real, pid, data);
	return result;
}
