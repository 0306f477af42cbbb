#include "image.h"
#include <cstring>
#include <sstream>

namespace nvrtc
{
static const char Magic[] = "stand-in image";

std::string write_image(const Image& image)
{
    std::string text = std::string(Magic) + "\n" + image.file + "\n" + image.variant + "\n";
    for (const std::string& kernel : image.kernels)
    {
        text += kernel + "\n";
    }

    return text;
}

bool read_image(const char* text, Image& image)
{
    if (memcmp(text, "\x7f" "ELF", 4) == 0)
    {
        return false;
    }

    std::istringstream lines(text);
    std::string line;
    std::getline(lines, line);
    if (line == Magic)
    {
        std::getline(lines, image.file);
        std::getline(lines, image.variant);
        while (std::getline(lines, line))
        {
            image.kernels.push_back(line);
        }

        return true;
    }

    while (std::getline(lines, line))
    {
        const size_t entry = line.find(".entry ");
        const size_t end = entry == std::string::npos ? entry : line.find('(', entry);
        if (end != std::string::npos)
        {
            image.kernels.push_back(line.substr(entry + 7, end - entry - 7));
        }
    }

    return !image.kernels.empty();
}
}
