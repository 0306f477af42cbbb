#pragma once
#include <cstddef>

namespace fibers
{
// Memory poisoned with NaN (0xff bytes: NaN as f32 and as bf16, -1 as an int) between two red zones.
char* allocate_guarded(size_t bytes);
void free_guarded(char* memory);

// Zero if both red zones are whole. Otherwise where: -1 is the byte before the memory, n + 1 is byte n behind its start.
long damage_of_guard(const char* memory, size_t bytes);

constexpr size_t RedZone = 256;

// Red zones read as NaN too, but are told from poison: 0xffa5 is a NaN as bf16, 0xffa5ffa5 one as f32.
void fill_red(char* from, size_t bytes);
bool is_red(const char* from, size_t bytes);
}
