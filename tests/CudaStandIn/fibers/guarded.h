#pragma once
#include <cstddef>

namespace fibers
{
constexpr size_t RedZone = 256;

// Red zones read as NaN, but are told from poison (0xff bytes): 0xffa5 is a NaN as bf16, 0xffa5ffa5 one as f32.
void fill_red(char* from, size_t bytes);
bool is_red(const char* from, size_t bytes);

// The shared memory of a block. Each array is poisoned with 0xff bytes (NaN as f32 and as bf16, -1 as an int) and lies between two red zones;
// the whole lies in the midst of addresses that nobody may touch, as far as a 32-bit index reaches.
class SharedMemory
{
public:
    SharedMemory();
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;

    char* allocate(size_t bytes);
    void clear() { _used = 0; }

    // Zero if both red zones are whole. Otherwise where: -1 is the byte before the memory, n + 1 is byte n behind its start.
    static long damage_around(const char* memory, size_t bytes);

private:
    char* _mapping;
    char* _memory;
    size_t _used = 0;
};
}
