// Device memory and pinned host memory: guard pages on both sides, NaN inside when fresh, bounds known.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace driver
{
// Whether a range lies within one allocation of device memory, or of pinned host memory.
bool on_device(uint64_t address, size_t bytes);
bool pinned(const void* address, size_t bytes);

// The part around an address that kernels may touch: of one allocation, and of one owner. First and end; both 0 for none.
std::pair<uint64_t, uint64_t> owned_range(uint64_t address);

// Throws if a range of device memory has a part without an owner (standin_forbid).
void check_owned(uint64_t address, size_t bytes);

// What lies at an address, or next to it, in words.
std::string describe(const void* address);

// Throws if something has written behind the end of an allocation, where no guard page is (up to 255 bytes).
void check_red_zones();
}
