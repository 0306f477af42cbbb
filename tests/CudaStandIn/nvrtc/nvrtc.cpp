// NVRTC's entry points. Nothing is compiled: the kernels are in this library already. The source is scanned for the names of its kernels and
// compared with what the library was built from. Where a real NVRTC is chosen (real.h), it compiles.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <regex>
#include <string>
#include "../fibers/launch.h"
#include "image.h"
#include "real.h"

#define API extern "C" __attribute__((visibility("default")))

namespace
{
enum Status { Success = 0, InvalidInput = 3, InvalidProgram = 4, InvalidOption = 5, CompilationError = 6 };

struct Program
{
    std::string source, name, log, image;
    std::map<std::string, std::string> headers;
};

// FNV-1a, as the build writes it (StandInBuild.cs).
uint64_t hash_of(const std::string& text)
{
    uint64_t hash = 14695981039346656037ull;
    for (unsigned char c : text)
    {
        hash = (hash ^ c) * 1099511628211ull;
    }

    return hash;
}

bool starts_with(const std::string& text, const char* with) { return text.rfind(with, 0) == 0; }

bool is_known_option(const std::string& option)
{
    static const char* const known[] = {"--gpu-architecture=", "-arch=", "--std=", "-std=", "-default-device", "--device-as-default-execution-space",
        "--use_fast_math", "-use_fast_math", "--ptxas-options=", "-lineinfo", "--generate-line-info", "--fmad=", "--maxrregcount=", "-D", "--define-macro=",
        "--extra-device-vectorization", "-I", "--include-path=", "-G", "--device-debug", "--diag-suppress=", "-w", "--disable-warnings", "--restrict"};
    return std::any_of(std::begin(known), std::end(known), [&](const char* k) { return starts_with(option, k); });
}

std::string variant_of(const std::vector<std::string>& options)
{
    std::vector<std::string> defines;
    for (size_t i = 0; i < options.size(); i++)
    {
        const size_t from = starts_with(options[i], "-D") ? 2 : starts_with(options[i], "--define-macro=") ? 15 : 0;
        if (from > 0)
        {
            defines.push_back(options[i].size() == from && i + 1 < options.size() ? options[++i] : options[i].substr(from));
        }
    }

    std::sort(defines.begin(), defines.end());
    std::string variant;
    for (const std::string& define : defines)
    {
        variant += (variant.empty() ? "" : " ") + define;
    }

    return variant;
}

std::string missing_header(const Program& program, const std::string& text)
{
    static const std::regex include("(^|\n)[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]+)[>\"]");
    for (std::sregex_iterator i(text.begin(), text.end(), include), end; i != end; ++i)
    {
        const std::string name = (*i)[2];
        const bool shimOnly = name == "shim.h";     // under CPU_SHIM
        if (!shimOnly && !program.headers.count(name))
        {
            return name;
        }
    }

    return "";
}

std::string base_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }
}

API int nvrtcVersion(int* major, int* minor)
{
    *major = 12;
    *minor = 8;
    return Success;
}

API int nvrtcGetNumSupportedArchs(int* count)
{
    *count = 3;
    return Success;
}

API int nvrtcGetSupportedArchs(int* architectures)
{
    const int all[] = {80, 89, 90};
    memcpy(architectures, all, sizeof all);
    return Success;
}

API int nvrtcCreateProgram(void** program, const char* source, const char* name, int headers, const char* const* texts, const char* const* names)
{
    Program* p = new Program{source, name ? name : "default_program", "", "", {}};
    for (int i = 0; i < headers; i++)
    {
        p->headers[names[i]] = texts[i];
    }

    *program = p;
    return Success;
}

API int nvrtcDestroyProgram(void** program)
{
    delete static_cast<Program*>(*program);
    *program = nullptr;
    return Success;
}

API int nvrtcCompileProgram(void* handle, int count, const char* const* given)
{
    Program& program = *static_cast<Program*>(handle);
    const std::vector<std::string> options(given, given + count);
    for (size_t i = 0; i < options.size(); i++)
    {
        const bool value = i > 0 && (options[i - 1] == "-D" || options[i - 1] == "-I");
        if (!value && !is_known_option(options[i]))
        {
            program.log = "nvrtc: error: unrecognized option " + options[i] + " found";
            return InvalidOption;
        }
    }

    if (nvrtc::is_real())
    {
        return nvrtc::compile_by_real(program.source, program.name, program.headers, options, program.image, program.log);
    }

    std::string missing = missing_header(program, program.source);
    for (const auto& [name, text] : program.headers)
    {
        missing = missing.empty() ? missing_header(program, text) : missing;
    }

    if (!missing.empty())
    {
        program.log = program.name + ": catastrophic error: cannot open source file \"" + missing + "\"";
        return CompilationError;
    }

    const std::string file = base_name(program.name);
    const uint64_t built = fibers::source_hash(file);
    if (built != 0 && built != hash_of(program.source))
    {
        program.log = file + ": the stand-in was built from another text of this file; build the tests again";
        return CompilationError;
    }

    const std::string variant = variant_of(options);
    nvrtc::Image image{file, variant, fibers::kernels_of(file, variant)};
    if (built != 0 && image.kernels.empty())
    {
        program.log = file + ": the stand-in was not built for the options '" + variant + "' (see 'variants' in tests/CudaStandIn/README.md)";
        return CompilationError;
    }

    program.image = nvrtc::write_image(image);
    return Success;
}

API int nvrtcGetCUBINSize(void* program, size_t* size)
{
    *size = static_cast<Program*>(program)->image.size() + 1;
    return Success;
}

API int nvrtcGetCUBIN(void* program, char* image)
{
    strcpy(image, static_cast<Program*>(program)->image.c_str());
    return Success;
}

API int nvrtcGetPTXSize(void* program, size_t* size) { return nvrtcGetCUBINSize(program, size); }
API int nvrtcGetPTX(void* program, char* image) { return nvrtcGetCUBIN(program, image); }

API int nvrtcGetProgramLogSize(void* program, size_t* size)
{
    *size = static_cast<Program*>(program)->log.size() + 1;
    return Success;
}

API int nvrtcGetProgramLog(void* program, char* log)
{
    strcpy(log, static_cast<Program*>(program)->log.c_str());
    return Success;
}

API const char* nvrtcGetErrorString(int status)
{
    switch (status)
    {
        case Success: return "NVRTC_SUCCESS";
        case InvalidInput: return "NVRTC_ERROR_INVALID_INPUT";
        case InvalidProgram: return "NVRTC_ERROR_INVALID_PROGRAM";
        case InvalidOption: return "NVRTC_ERROR_INVALID_OPTION";
        case CompilationError: return "NVRTC_ERROR_COMPILATION";
        default: return "NVRTC_ERROR unknown";
    }
}
