#include "statement.h"
#include <cctype>
#include <stdexcept>

namespace ptx
{
namespace
{
// Comments become blanks; lines stay lines.
std::string without_comments(const std::string& text)
{
    std::string kept;
    for (size_t i = 0; i < text.size(); i++)
    {
        if (text.compare(i, 2, "//") == 0)
        {
            i = text.find('\n', i);
            i = i == std::string::npos ? text.size() : i;
            kept += '\n';
        }
        else if (text.compare(i, 2, "/*") == 0)
        {
            const size_t end = text.find("*/", i + 2);
            for (; i < text.size() && i < end + 1; i++)
            {
                kept += text[i] == '\n' ? '\n' : ' ';
            }
        }
        else
        {
            kept += text[i];
        }
    }

    return kept;
}

Statement statement_of(const std::string& text, int line)
{
    Statement s{};
    s.line = line;
    s.text = text;
    std::string rest = text;
    if (rest[0] == '@')
    {
        const size_t blank = rest.find(' ');
        s.guard = rest.substr(1, blank - 1);
        rest = trimmed(rest.substr(blank));
    }

    const size_t blank = rest.find_first_of(" {");
    s.kind = rest[0] == '.' ? Statement::Kind::Directive : Statement::Kind::Instruction;
    s.words = split(rest.substr(rest[0] == '.', blank - (rest[0] == '.')), '.');
    if (blank != std::string::npos)
    {
        for (const std::string& operand : split(rest.substr(blank), ','))
        {
            s.operands.push_back(trimmed(operand));
        }
    }

    return s;
}

bool is_initializer(const std::string& pending) { return pending.find('=') != std::string::npos; }

// A brace that belongs to a vector operand or an initial value, not to a block of statements.
bool opens_vector(const std::string& pending) { return !pending.empty() && (pending[0] != '.' || is_initializer(pending)); }

// .entry and .func go on to their body's brace, the other directives of one line to its end.
bool ends_with_line(const std::string& pending)
{
    for (const char* with : {".version", ".target", ".address_size", ".maxntid", ".minnctapersm", ".reqntid", ".maxnreg", ".file", ".loc"})
    {
        if (pending.rfind(with, 0) == 0)
        {
            return true;
        }
    }

    return false;
}
}

std::string trimmed(const std::string& text)
{
    const size_t from = text.find_first_not_of(" \t\n\r"), to = text.find_last_not_of(" \t\n\r");
    return from == std::string::npos ? "" : text.substr(from, to - from + 1);
}

std::vector<std::string> split(const std::string& text, char at)
{
    std::vector<std::string> parts{""};
    int depth = 0;
    for (char c : text)
    {
        depth += c == '{' || c == '[' || c == '(' ? 1 : c == '}' || c == ']' || c == ')' ? -1 : 0;
        if (c == at && depth == 0)
        {
            parts.push_back("");
        }
        else
        {
            parts.back() += c;
        }
    }

    return parts;
}

std::vector<Statement> statements_of(const std::string& commented)
{
    const std::string text = without_comments(commented);
    std::vector<Statement> all;
    std::string pending;
    int line = 1, first = 1, vectors = 0, parentheses = 0;
    auto end = [&]
    {
        pending = trimmed(pending);
        if (!pending.empty())
        {
            all.push_back(statement_of(pending, first));
        }

        pending.clear();
    };

    for (char c : text)
    {
        if (pending.empty() && !isspace(static_cast<unsigned char>(c)))
        {
            first = line;
        }

        parentheses += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (c == '\n')
        {
            if (ends_with_line(pending))
            {
                end();
            }

            line++;
        }

        if (vectors > 0 || (c == '{' && opens_vector(pending)))
        {
            vectors += c == '{' ? 1 : c == '}' ? -1 : 0;
            pending += c;
        }
        else if (c == ';')
        {
            end();
        }
        else if (c == '{')
        {
            end();
            all.push_back({Statement::Kind::Open, line, "", {}, {}, "{"});
        }
        else if (c == '}')
        {
            end();
            all.push_back({Statement::Kind::Close, line, "", {}, {}, "}"});
        }
        else if (c == ':' && parentheses == 0 && pending.find_first_of(" .") == std::string::npos)
        {
            all.push_back({Statement::Kind::Label, line, "", {}, {pending}, pending});
            pending.clear();
        }
        else if (!isspace(static_cast<unsigned char>(c)))
        {
            pending += c;
        }
        else if (!pending.empty() && pending.back() != ' ')
        {
            pending += ' ';
        }
    }

    if (!trimmed(pending).empty())
    {
        throw std::runtime_error("PTX ends in the midst of: " + trimmed(pending));
    }

    return all;
}
}
