// NVIDIA's own NVRTC behind the stand-in's: it makes PTX, which the stand-in's driver runs by its interpreter.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace nvrtc
{
// The folder of the libraries and the architecture to compile for in place of the one that is asked for, such as "compute_80"; empty for the stand-in's
// own kernels.
void use_real(const std::string& folder, const std::string& architecture);
bool is_real();

// Zero and PTX, or NVRTC's status; in either case its log. What was compiled once in this process is kept.
int compile_by_real(const std::string& source, const std::string& name, const std::map<std::string, std::string>& headers,
    const std::vector<std::string>& options, std::string& ptx, std::string& log);
}
