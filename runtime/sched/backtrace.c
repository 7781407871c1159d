/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/backtrace.c: walks stacks by their frame pointers, and names addresses.
 *
 * The unwinder of the C library works on the running stack only, so a parked one is walked by hand:
 * on x86-64 and aarch64 alike the word at the frame pointer is the caller's frame pointer, and the
 * one after it the return address. dladdr() knows exported functions only, and most of an
 * application are static, so the program's own symbol table is read from its file, once.
 */
#include "runtime/sched/backtrace.h"

#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------- walking */

/* The red zones of ASan lie between frames, never on a frame pointer; it need not watch. */
__attribute__((no_sanitize("address"), no_sanitize("thread"))) size_t
apus_backtrace_walk(const void *bp, struct apus_stack_range range, void **out, size_t max)
{
	size_t n = 0;
	const char *at = bp;

	while (n < max && at >= range.low && at + 2 * sizeof(void *) <= range.high &&
	       (uintptr_t)at % sizeof(void *) == 0) {
		void *const *frame = (void *const *)(const void *)at;
		const char *caller = frame[0];

		if (!frame[1])
			break;
		out[n++] = frame[1];
		if (caller <= at) /* callers lie above */
			break;
		at = caller;
	}
	return n;
}

APUS_NOINLINE size_t apus_backtrace_here(void **out, size_t max, size_t skip)
{
	void *frames[APUS_BACKTRACE_MAX];
	size_t n = (size_t)backtrace(frames, APUS_BACKTRACE_MAX);

	skip++; /* this function */
	n = n > skip ? apus_min(n - skip, max) : 0;
	memcpy(out, frames + skip, n * sizeof(*out));
	return n;
}

/* ------------------------------------------------------------------------------------- symbols */

struct symbol {
	uintptr_t address; /* as in the file */
	size_t bytes;
	const char *name;
};

/* The program's functions, by address; read once. Its file stays mapped: the names are in it. */
static struct {
	pthread_once_t once;
	uintptr_t base; /* where dladdr() says that it begins; 0: not read */
	uintptr_t bias; /* address in memory - address in the file */
	struct symbol *symbols;
	size_t count;
} program = {.once = PTHREAD_ONCE_INIT};

static int by_address(const void *a, const void *b)
{
	const struct symbol *left = a, *right = b;

	return (left->address > right->address) - (left->address < right->address);
}

/* Not of malloc(): a report may come when the program is out of memory. */
static void *map_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static const ElfW(Shdr) * section_at(const char *file, size_t bytes, size_t index)
{
	const ElfW(Ehdr) *head = (const void *)file;
	size_t at = head->e_shoff + index * sizeof(ElfW(Shdr));
	const ElfW(Shdr) *section = (const void *)(file + at);

	if (index >= head->e_shnum || at + sizeof(*section) > bytes)
		return NULL;
	return section->sh_offset + section->sh_size <= bytes ? section : NULL;
}

/* The table of all functions; a program that was stripped has none. */
static const ElfW(Shdr) * symbol_table(const char *file, size_t bytes)
{
	const ElfW(Ehdr) *head = (const void *)file;

	for (size_t i = 0; i < head->e_shnum; i++) {
		const ElfW(Shdr) *section = section_at(file, bytes, i);

		if (section && section->sh_type == SHT_SYMTAB)
			return section;
	}
	return NULL;
}

static void take_symbols(const char *file, size_t bytes)
{
	const ElfW(Ehdr) *head = (const void *)file;
	const ElfW(Shdr) * table, *strings;

	if (bytes < sizeof(*head) || memcmp(head->e_ident, ELFMAG, SELFMAG))
		return;
	table = symbol_table(file, bytes);
	strings = table ? section_at(file, bytes, table->sh_link) : NULL;
	if (!strings || !strings->sh_size)
		return;

	const ElfW(Sym) *symbols = (const void *)(file + table->sh_offset);
	size_t count = table->sh_size / sizeof(*symbols);
	struct symbol *out = map_memory((count + 1) * sizeof(*out));

	if (!out)
		return;
	for (size_t i = 0; i < count; i++) {
		const ElfW(Sym) *s = &symbols[i];

		if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || !s->st_value ||
		    s->st_name >= strings->sh_size)
			continue;
		out[program.count++] = (struct symbol){
			.address = s->st_value,
			.bytes = s->st_size,
			.name = file + strings->sh_offset + s->st_name,
		};
	}
	qsort(out, program.count, sizeof(*out), by_address);
	program.symbols = out;
	program.bias = head->e_type == ET_DYN ? program.base : 0;
}

static void read_program(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat about;
	Dl_info info;

	if (fd < 0)
		return;
	/* The program's headers, as the kernel mapped them, lie in the program and in no library. */
	if (dladdr((const void *)getauxval(AT_PHDR), &info) && fstat(fd, &about) == 0 &&
	    about.st_size > 0) {
		size_t bytes = (size_t)about.st_size;
		const char *file = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);

		program.base = (uintptr_t)info.dli_fbase;
		if (file != MAP_FAILED)
			take_symbols(file, bytes);
	}
	close(fd);
}

/* The function that begins last before @address, if it reaches that far. */
static const struct symbol *find(uintptr_t address)
{
	size_t low = 0, high = program.count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (program.symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;

	const struct symbol *s = &program.symbols[low - 1];

	return address - s->address <= s->bytes ? s : NULL;
}

const char *apus_symbol_text(const void *address, char *out)
{
	uintptr_t at = (uintptr_t)address;
	const struct symbol *symbol = NULL;
	Dl_info info;

	pthread_once(&program.once, read_program);
	if (!dladdr(address, &info)) {
		snprintf(out, APUS_SYMBOL_TEXT_SIZE, "%p", address);
		return out;
	}
	if ((uintptr_t)info.dli_fbase == program.base)
		symbol = find(at - program.bias);
	if (symbol) {
		snprintf(out, APUS_SYMBOL_TEXT_SIZE, "%s+0x%zx", symbol->name,
			 (size_t)(at - program.bias - symbol->address));
	} else if (info.dli_sname) {
		snprintf(out, APUS_SYMBOL_TEXT_SIZE, "%s+0x%zx", info.dli_sname,
			 (size_t)(at - (uintptr_t)info.dli_saddr));
	} else {
		const char *slash = strrchr(info.dli_fname, '/');

		snprintf(out, APUS_SYMBOL_TEXT_SIZE, "%s+0x%zx", slash ? slash + 1 : info.dli_fname,
			 (size_t)(at - (uintptr_t)info.dli_fbase));
	}
	return out;
}

void apus_backtrace_print(FILE *out, void *const frames[], size_t n, int indent)
{
	char text[APUS_SYMBOL_TEXT_SIZE];

	for (size_t i = 0; i < n; i++)
		fprintf(out, "%*s#%zu %s\n", indent, "", i, apus_symbol_text(frames[i], text));
}
