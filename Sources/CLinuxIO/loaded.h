// SPDX-License-Identifier: Apache-2.0
// Pages of the program and of its libraries that are never written, given back to the page cache.
#ifndef CLINUXIO_LOADED_H
#define CLINUXIO_LOADED_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// How dl_iterate_phdr(3) describes what is loaded. <link.h> has it only where _GNU_SOURCE comes before every header.
struct linux_loaded {
    ElfW(Addr) address;
    const char *name;
    const ElfW(Phdr) *segments;
    ElfW(Half) segment_count;
};

extern int linux_each_loaded(int (*visit)(struct linux_loaded *, size_t, void *), void *context)
    __asm__("dl_iterate_phdr");

// Whether the dynamic linker writes segments that are read-only afterwards.
static inline bool linux_has_text_relocations(const struct linux_loaded *loaded, const ElfW(Phdr) *segment) {
    const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(loaded->address + segment->p_vaddr);
    for (; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL)) return true;
    }
    return false;
}

static inline int linux_release_loaded(struct linux_loaded *loaded, size_t size, void *context) {
    (void)size;
    (void)context;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    // The kernel's own is no file's.
    if (loaded->name && strncmp(loaded->name, "linux-", 6) == 0) return 0;
    for (int i = 0; i < loaded->segment_count; i++) {
        const ElfW(Phdr) *segment = &loaded->segments[i];
        if (segment->p_type == PT_DYNAMIC && linux_has_text_relocations(loaded, segment)) return 0;
    }
    for (int i = 0; i < loaded->segment_count; i++) {
        const ElfW(Phdr) *segment = &loaded->segments[i];
        // What is only read once it is linked (RELRO) lies in a segment that can be written.
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W) continue;
        uintptr_t start = loaded->address + segment->p_vaddr, end = start + segment->p_memsz;
        start = (start + page - 1) & ~(page - 1);
        end &= ~(page - 1);
        if (start < end) madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

/// Gives back the code and the constants of the program and of all libraries that are loaded: pages of files, which come
/// back as they are used. The dynamic linker neither loads nor unloads anything meanwhile.
static inline void linux_release_code(void) { linux_each_loaded(linux_release_loaded, NULL); }

#endif
