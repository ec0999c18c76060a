// SPDX-License-Identifier: GPL-2.0
/*
 * CRC-32C, with which RocksDB protects its logs and, at our wish, its files as
 * a whole. By the processor's instruction where there is one.
 *
 * RocksDB as distributions build it for amd64 uses tables, whatever the processor can, and
 * that was an eighth of a commit of small contents. So its function is replaced by ours,
 * under its own name: the linker exports what a shared library refers to, and the library
 * asks for it through its PLT. Where it does not, or calls it otherwise, it goes on with its own.
 */
#include <endian.h>
#include <string.h>

#include "store_local.h"

#define POLYNOMIAL	0x82f63b78u	/* reflected */

#define SLICES		8

static uint32_t table[SLICES][256];	/* [n]: of a byte with n bytes of 0 behind it */
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_init(void)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		table[0][i] = crc;
	}
	for (unsigned int n = 1; n < SLICES; n++)
		for (unsigned int i = 0; i < 256; i++)
			table[n][i] = table[n - 1][i] >> 8 ^ table[0][table[n - 1][i] & 0xff];
}

uint32_t crc32c_by_table(uint32_t before, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = ~before;
	uint64_t word;

	pthread_once(&table_once, table_init);
	for (; len >= SLICES; p += SLICES, len -= SLICES) {
		memcpy(&word, p, SLICES);
		word = le64toh(word) ^ crc;
		crc = 0;
		for (int n = SLICES - 1; n >= 0; n--, word >>= 8)
			crc ^= table[n][word & 0xff];
	}
	while (len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xff];
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t wide = crc, word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = wide;
	while (len--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(~crc, data, len);
#endif
	return crc32c_by_table(crc, data, len);
}

#ifdef __x86_64__
uint32_t rocksdb_crc32c_extend(uint32_t crc, const char *data, size_t len)
{
	return crc32c(crc, data, len);
}
#endif
