#include "contraction.h"

namespace ptx
{
namespace
{
Statement made(const Statement& like, std::vector<std::string> words, std::vector<std::string> operands)
{
    Statement s = like;
    s.words = std::move(words);
    s.operands = std::move(operands);
    return s;
}

bool is(const Statement& s, const char* name) { return s.guard.empty() && s.words.size() == 2 && s.words[0] == name && s.words[1] == "f32"; }

bool writes_first_operand(const Statement& s) { return !s.operands.empty() && s.words[0] != "st" && s.words[0] != "red" && s.words[0] != "bra" && s.words[0] != "bar"; }
}

bool Contraction::is_chosen(const Statement& s) const
{
    return _seed == 1 || (_seed > 1 && (unsigned(s.line) * 2654435761u ^ _seed * 40503u) >> 13 & 1);
}

// What the instruction writes is no product any more, nor of use as a factor.
void Contraction::forget_written(const Statement& s)
{
    const std::string& target = s.operands[0];
    auto is_written = [&](const std::string& name)
    {
        const size_t at = target.find(name), end = at + name.size();
        return at != std::string::npos && (end == target.size() || !isdigit(static_cast<unsigned char>(target[end])));
    };
    for (auto product = _products.begin(); product != _products.end();)
    {
        const auto& [name, factors] = *product;
        product = is_written(name) || is_written(factors.first) || is_written(factors.second) ? _products.erase(product) : std::next(product);
    }
}

std::vector<Statement> Contraction::of(const Statement& s)
{
    if (_seed == 0)
    {
        return {s};
    }

    std::vector<Statement> result{s};
    const bool isSum = is(s, "add"), isDifference = is(s, "sub");
    if ((isSum || isDifference) && is_chosen(s))
    {
        const std::string &d = s.operands[0], &a = s.operands[1], &b = s.operands[2];
        const auto first = _products.find(a), second = _products.find(b);
        const std::vector<std::string> fma{"fma", "rn", "f32"}, neg{"neg", "f32"};

        // Of two products either may be the one; which is by chance too.
        if (first != _products.end() && (second == _products.end() || s.line & 1))
        {
            const auto& [x, y] = first->second;
            result = isSum ? std::vector<Statement>{made(s, fma, {d, x, y, b})}
                           : std::vector<Statement>{made(s, neg, {Temporary, b}), made(s, fma, {d, x, y, Temporary})};
        }
        else if (second != _products.end())
        {
            const auto& [x, y] = second->second;
            result = isSum ? std::vector<Statement>{made(s, fma, {d, x, y, a})}
                           : std::vector<Statement>{made(s, neg, {Temporary, x}), made(s, fma, {d, Temporary, y, a})};
        }
    }

    if (writes_first_operand(s))
    {
        forget_written(s);
    }

    const bool isProduct = is(s, "mul") && s.operands[0] != s.operands[1] && s.operands[0] != s.operands[2];
    if (isProduct)
    {
        _products[s.operands[0]] = {s.operands[1], s.operands[2]};
    }

    return result;
}
}
