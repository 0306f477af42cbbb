// What the stand-in's NVRTC hands to its driver instead of machine code: the names of the kernels.
#pragma once
#include <string>
#include <vector>

namespace nvrtc
{
struct Image
{
    std::string file;                   // empty: not known
    std::string variant;                // the -D options, sorted
    std::vector<std::string> kernels;
};

std::string write_image(const Image& image);

// False for what is no such image: PTX, or machine code.
bool read_image(const char* text, Image& image);
}
