/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the code in this directory needs from where it is compiled: the same
 * files are built into the kernel module, the programs and the tests.
 */
#ifndef ARCHIL_PORT_H
#define ARCHIL_PORT_H

#ifdef __KERNEL__

#include <linux/types.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/errno.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/stddef.h>
#include <asm/byteorder.h>

/*
 * Memory, or NULL. Without wait: from any context, and more often NULL. What
 * was got with wait and is not small is to be freed where one may sleep.
 */
#define port_alloc(size, wait) \
	((wait) ? kvmalloc(size, GFP_KERNEL_ACCOUNT) : \
		  kmalloc(size, GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT))
#define port_free(p)	kvfree(p)
/* In long loops that hold no lock. */
#define port_relax()	cond_resched()

#else

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define cpu_to_le16(x)	((__le16)htole16(x))
#define cpu_to_le32(x)	((__le32)htole32(x))
#define cpu_to_le64(x)	((__le64)htole64(x))
#define le16_to_cpu(x)	le16toh((u16)(x))
#define le32_to_cpu(x)	le32toh((u32)(x))
#define le64_to_cpu(x)	le64toh((u64)(x))

#ifndef port_alloc
#define port_alloc(size, wait)	malloc(size)
#define port_free(p)		free(p)
#endif
#define port_relax()		do { } while (0)

#ifndef __packed
#define __packed	__attribute__((packed))
#endif
#ifndef __aligned
#define __aligned(n)	__attribute__((aligned(n)))
#endif
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif
#ifndef static_assert
#define static_assert	_Static_assert
#endif

#endif /* __KERNEL__ */

#endif /* ARCHIL_PORT_H */
