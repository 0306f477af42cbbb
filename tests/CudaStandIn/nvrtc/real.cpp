#include "real.h"
#include <dirent.h>
#include <dlfcn.h>
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

namespace nvrtc
{
namespace
{
// What is compiled for, and by what. A library is loaded once and stays.
struct Real
{
    std::string folder, architecture;
};

struct Entries
{
    int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*);
    int (*compile)(void*, int, const char* const*);
    int (*ptxSize)(void*, size_t*);
    int (*ptx)(void*, char*);
    int (*logSize)(void*, size_t*);
    int (*log)(void*, char*);
    int (*destroy)(void**);
};

std::mutex s_gate;

Real& chosen()
{
    static Real* one = []
    {
        const char* folder = getenv("CUDA_STANDIN_NVRTC");
        const char* architecture = getenv("CUDA_STANDIN_NVRTC_ARCHITECTURE");
        return new Real{folder ? folder : "", architecture ? architecture : "compute_80"};
    }();
    return *one;
}

std::vector<std::string> files_in(const std::string& folder, const std::string& with)
{
    std::vector<std::string> files;
    if (DIR* opened = opendir(folder.c_str()))
    {
        while (const dirent* entry = readdir(opened))
        {
            if (std::string(entry->d_name).rfind(with, 0) == 0)
            {
                files.push_back(folder + "/" + entry->d_name);
            }
        }

        closedir(opened);
    }

    std::sort(files.begin(), files.end());
    return files;
}

template <class F> void find(void* library, const char* name, F& entry)
{
    entry = reinterpret_cast<F>(dlsym(library, name));
    if (!entry)
    {
        throw std::runtime_error(std::string("no ") + name);
    }
}

Entries load(const std::string& folder)
{
    // NVRTC opens its builtins by bare name; glibc finds them by that name once they are loaded by their path.
    for (const std::string& file : files_in(folder, "libnvrtc-builtins.so."))
    {
        dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    }

    const std::vector<std::string> files = files_in(folder, "libnvrtc.so.");
    void* library = files.empty() ? nullptr : dlopen(files[0].c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
    {
        throw std::runtime_error("no NVRTC that loads in " + folder);
    }

    Entries e;
    find(library, "nvrtcCreateProgram", e.create);
    find(library, "nvrtcCompileProgram", e.compile);
    find(library, "nvrtcGetPTXSize", e.ptxSize);
    find(library, "nvrtcGetPTX", e.ptx);
    find(library, "nvrtcGetProgramLogSize", e.logSize);
    find(library, "nvrtcGetProgramLog", e.log);
    find(library, "nvrtcDestroyProgram", e.destroy);
    return e;
}

std::string text_of(void* program, int (*size)(void*, size_t*), int (*get)(void*, char*))
{
    size_t length = 0;
    if (size(program, &length) != 0 || length == 0)
    {
        return "";
    }

    std::string text(length, '\0');
    get(program, text.data());
    text.resize(length - 1);
    return text;
}
}

void use_real(const std::string& folder, const std::string& architecture)
{
    std::lock_guard lock(s_gate);
    chosen() = {folder, architecture};
}

bool is_real()
{
    std::lock_guard lock(s_gate);
    return !chosen().folder.empty();
}

int compile_by_real(const std::string& source, const std::string& name, const std::map<std::string, std::string>& headers,
    const std::vector<std::string>& given, std::string& ptx, std::string& log)
{
    static std::map<std::string, std::string> kept;
    static std::map<std::string, Entries> loaded;
    std::string key;
    std::vector<std::string> options = given;
    Entries entries;
    {
        std::lock_guard lock(s_gate);
        const Real real = chosen();
        for (std::string& option : options)
        {
            const size_t equals = option.find('=');
            option = option.find("arch") != std::string::npos && equals != std::string::npos ? option.substr(0, equals + 1) + real.architecture : option;
        }

        key = real.folder + "\n" + name + "\n" + source;
        for (const std::string& option : options)
        {
            key += "\n" + option;
        }

        for (const auto& [header, text] : headers)
        {
            key += "\n" + header + "\n" + text;
        }

        const auto found = kept.find(key);
        if (found != kept.end())
        {
            ptx = found->second;
            return 0;
        }

        if (!loaded.count(real.folder))
        {
            loaded[real.folder] = load(real.folder);
        }

        entries = loaded[real.folder];
    }

    std::vector<const char*> texts, names, values;
    for (const auto& [header, text] : headers)
    {
        names.push_back(header.c_str());
        texts.push_back(text.c_str());
    }

    for (const std::string& option : options)
    {
        values.push_back(option.c_str());
    }

    void* program = nullptr;
    int status = entries.create(&program, source.c_str(), name.c_str(), int(texts.size()), texts.data(), names.data());
    status = status ? status : entries.compile(program, int(values.size()), values.data());
    log = text_of(program, entries.logSize, entries.log);
    if (status == 0)
    {
        ptx = text_of(program, entries.ptxSize, entries.ptx);
        std::lock_guard lock(s_gate);
        kept[key] = ptx;
    }

    entries.destroy(&program);
    return status;
}
}
