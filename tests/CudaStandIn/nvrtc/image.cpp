#include "image.h"
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
    std::istringstream lines(text);
    std::string line;
    std::getline(lines, line);
    if (line != Magic)
    {
        return false;
    }

    std::getline(lines, image.file);
    std::getline(lines, image.variant);
    while (std::getline(lines, line))
    {
        image.kernels.push_back(line);
    }

    return true;
}
}
