using System.Globalization;
using System.Text.Json;
using InferenceServer.Models.ChatTemplates;
using Xunit;

namespace InferenceServer.UnitTests.ChatTemplates;

public sealed class PythonSemanticsTests
{
    [Theory]
    [InlineData("1.0", "1.0")]
    [InlineData("1e16", "1e+16")]
    [InlineData("1e15", "1000000000000000.0")]
    [InlineData("123456789012345680.0", "1.2345678901234568e+17")]
    [InlineData("0.0001", "0.0001")]
    [InlineData("0.00001", "1e-05")]
    [InlineData("1e-7", "1e-07")]
    [InlineData("2.5e-310", "2.5e-310")]
    [InlineData("-0.1", "-0.1")]
    [InlineData("1e400", "inf")]
    [InlineData("0.1 + 0.2", "0.30000000000000004")]
    [InlineData("7 / 2", "3.5")]
    [InlineData("2 ** 100", "1267650600228229401496703205376")]
    [InlineData("9223372036854775807 + 1", "9223372036854775808")]
    [InlineData("9223372036854775808 - 1", "9223372036854775807")]
    [InlineData("-7 // 2", "-4")]
    [InlineData("-7 % 3", "2")]
    [InlineData("7 % -3", "-2")]
    [InlineData("-7.5 % 2", "0.5")]
    [InlineData("0.125|round(2)", "0.12")]
    [InlineData("2.675|round(2)", "2.67")]
    [InlineData("true + 1", "2")]
    public void Numbers_are_written_as_Python_writes_them(string expression, string expected)
    {
        Assert.Equal(expected, Render("{{ " + expression + " }}"));
    }

    [Theory]
    [InlineData("'a😀b𝐀'|length", "4")]
    [InlineData("'a😀b𝐀'[1]", "😀")]
    [InlineData("'a😀b𝐀'[-1]", "𝐀")]
    [InlineData("'a😀b𝐀'[1:3]", "😀b")]
    [InlineData("'a😀b𝐀'[::-1]", "𝐀b😀a")]
    [InlineData("'a😀b𝐀'[::2]", "ab")]
    [InlineData("'a😀b𝐀'.find('b')", "2")]
    [InlineData("'abc'[5:]", "")]
    [InlineData("'abc'[-2:]", "bc")]
    [InlineData("'abc'[:-5]", "")]
    [InlineData("'abcdef'[4:1:-2]", "ec")]
    [InlineData("[1, 2, 3][-9:9]", "[1, 2, 3]")]
    [InlineData("(1, 2, 3)[1:]", "(2, 3)")]
    [InlineData("'\\uffff' < '😀'", "True")]
    [InlineData("'😀x'.strip('😀')", "x")]
    [InlineData("'xyx'.lstrip('x')", "yx")]
    [InlineData("'aXbX'.replace('X', '-', 1)", "a-bX")]
    [InlineData("'ab'.replace('', '.')", ".a.b.")]
    [InlineData("'a  b'.split(' ')", "['a', '', 'b']")]
    [InlineData("' a b  c '.split(none, 1)", "['a', 'b  c ']")]
    [InlineData("' a b  c '.rsplit(none, 1)", "[' a b', 'c']")]
    [InlineData("'a-b-c'.partition('-')", "('a', '-', 'b-c')")]
    [InlineData("\"they're bill's\".title()", "They'Re Bill'S")]
    [InlineData("\"they're bill's\"|title", "They're Bill's")]
    [InlineData("'%s has %03d at %.1f%%' % ('x', 7, 2.55)", "x has 007 at 2.5%")]
    [InlineData("'{:>5}|{!r}|{x:.2f}'.format('a', 'b', x=1)", "    a|'b'|1.00")]
    public void Texts_are_sequences_of_code_points(string expression, string expected)
    {
        Assert.Equal(expected, Render("{{ " + expression + " }}"));
    }

    [Theory]
    [InlineData("{'a': [1, 2.0, none, true], 'é': '<&>\"'}|tojson", "{\"a\": [1, 2.0, null, true], \"é\": \"<&>\\\"\"}")]
    [InlineData("{'b': 1, 'a': []}|tojson(indent=2)", "{\n  \"b\": 1,\n  \"a\": []\n}")]
    [InlineData("{'b': 1, 'a': 2}|tojson(sort_keys=true)", "{\"a\": 2, \"b\": 1}")]
    [InlineData("{1: 2, none: 3, true: 4}|tojson", "{\"1\": 4, \"null\": 3}")]
    [InlineData("'😀\\x7f\\x1f'|tojson", "\"😀\u007f\\u001f\"")]
    [InlineData("'😀'|tojson(ensure_ascii=true)", "\"\\ud83d\\ude00\"")]
    public void Tojson_writes_what_json_dumps_writes(string expression, string expected)
    {
        Assert.Equal(expected, Render("{{ " + expression + " }}"));
    }

    [Theory]
    [InlineData("'' == false", "False")]
    [InlineData("1 == true", "True")]
    [InlineData("[1] == (1,)", "False")]
    [InlineData("1 < 2 < 3 != 3", "False")]
    [InlineData("none is defined", "True")]
    [InlineData("nope is iterable", "True")]
    [InlineData("nope|default('d')", "d")]
    [InlineData("''|default('d', true)", "d")]
    [InlineData("[nope, none]", "[Undefined, None]")]
    [InlineData("not 1 in [2]", "True")]
    [InlineData("2 ** 3 ** 2", "64")]
    [InlineData("-2 ** 2", "4")]
    [InlineData("1 if false", "")]
    public void Operators_mean_what_they_mean_in_Jinja(string expression, string expected)
    {
        Assert.Equal(expected, Render("{{ " + expression + " }}"));
    }

    [Theory]
    [InlineData("{% set n = namespace(x=0) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "3")]
    [InlineData("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", "21")]
    [InlineData("{% for i in [1, 2] %}{{ 'D' if x is defined }}{% set x = i %}{% endfor %}", "")]
    [InlineData("{% for i in [1, 2, 3, 4] if i % 2 == 0 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}", "1/2:2 2/2:4 ")]
    [InlineData("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "02")]
    [InlineData("{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123")]
    [InlineData("{% for i in [1, [2, [3]]] recursive %}{{ loop(i) if i is not number else i }}{% endfor %}", "123")]
    [InlineData("{% for c in 'a😀' %}{{ loop.revindex }}{{ c }}{{ loop.cycle('x', 'y') }}{% endfor %}", "2ax1😀y")]
    [InlineData("{% macro m(a, b='B') %}{{ a }}{{ b }}{{ x }}{% endmacro %}{% set x = '!' %}{{ m(1) }}{{ m(b=2, a=3) }}", "1B!32!")]
    [InlineData("{% set x | trim | upper %} a {% endset %}[{{ x }}]", "[A]")]
    [InlineData("{% generation %}g{% endgeneration %}", "g")]
    [InlineData("{{ none|select|list }}{{ false|map(attribute='x')|list }}{% set it = 5|selectattr('x') %}", "[][]")]
    [InlineData("{{ ['b', 'A', none][:2]|sort }}{{ [none, none]|sort }}{{ [{'k': 2}, {'k': 1}]|sort(attribute='k') }}", "['A', 'b'][None, None][{'k': 1}, {'k': 2}]")]
    [InlineData("{{ [3, 1]|map('string')|reverse }}{{ {'items': 1}.items() }}{{ {'items': 1}['items'] }}", "['1', '3']dict_items([('items', 1)])1")]
    [InlineData("{{ [[2, 'x'], [1, 'y']]|dictsort if false else {'b': 1, 'A': 2}|dictsort }}", "[('A', 2), ('b', 1)]")]
    [InlineData("{% set it = [1, 2]|select %}{{ it|list }}{{ it|list }}", "[1, 2][]")]
    public void Statements_scope_their_names_as_in_Jinja(string template, string expected)
    {
        Assert.Equal(expected, Render(template));
    }

    [Theory]
    [InlineData("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc")]
    [InlineData("a \n {{- 1 -}} \n b", "a1b")]
    [InlineData("  {%+ if true %}x{% endif %}", "  x")]
    [InlineData("{% if true +%}\nx{% endif %}", "\nx")]
    [InlineData("x\n\n", "x\n")]
    [InlineData("a {# c #}\nb", "a b")]
    [InlineData("{% raw -%}  {{ x }}\n{%- endraw %}", "{{ x }}")]
    [InlineData("{{ {'a': {'b': 1}}['a']['b'] }}}", "1}")]
    [InlineData("a\r\nb\rc", "a\nb\nc")]
    public void White_space_around_tags_is_kept_or_dropped_as_in_Jinja(string template, string expected)
    {
        Assert.Equal(expected, Render(template));
    }

    [Fact]
    public void Results_do_not_depend_on_the_culture()
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = new CultureInfo("tr-TR");
            Assert.Equal("1.5 I i -3 1.50", Render("{{ 1.5 }} {{ 'i'|upper }} {{ 'I'|lower }} {{ -3 }} {{ '%.2f' % 1.5 }}"));
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    private static string Render(string template)
    {
        using JsonDocument none = JsonDocument.Parse("{}");
        return ChatTemplate.Parse(template).Render(none.RootElement);
    }
}
