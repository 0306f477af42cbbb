// PTX text cut into statements: declarations, instructions, labels and braces.
#pragma once
#include <string>
#include <vector>

namespace ptx
{
struct Statement
{
    enum class Kind { Directive, Instruction, Label, Open, Close };

    Kind kind;
    int line;
    std::string guard;                      // "%p1" or "!%p1"
    std::vector<std::string> words;         // of an opcode or a directive, cut at its dots
    std::vector<std::string> operands;      // cut at commas outside of brackets; a label's name
    std::string text;                       // the whole, blanks made single
};

std::vector<Statement> statements_of(const std::string& text);

std::vector<std::string> split(const std::string& text, char at);
std::string trimmed(const std::string& text);
}
