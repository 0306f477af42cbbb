using System.Text.Json;
using InferenceServer.Models.ChatTemplates;
using Xunit;

namespace InferenceServer.UnitTests.ChatTemplates;

public sealed class HostileTemplateTests
{
    [Theory]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "MaxSteps")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{{ 'x' }}{% endfor %}{% endfor %}", "MaxSteps")]
    [InlineData("{{ 'x' * 999999999 }}", "MaxAllocatedBytes")]
    [InlineData("{{ [0] * 999999999999999999999 }}", "MaxAllocatedBytes")]
    [InlineData("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}", "MaxAllocatedBytes")]
    [InlineData("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}", "MaxAllocatedBytes")]
    [InlineData("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s.replace('x', 'xxxxxxxxxx') %}{% endfor %}", "MaxAllocatedBytes")]
    [InlineData("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s|replace('', n.s) %}{% endfor %}", "MaxAllocatedBytes")]
    [InlineData("{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}", "MaxAllocatedBytes")]
    [InlineData("{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}", "MaxSteps")]
    [InlineData("{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l|tojson }}", "MaxSteps")]
    [InlineData("{% set n = namespace(l=[], m=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}", "MaxSteps")]
    [InlineData("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}", "MaxValueDepth")]
    [InlineData("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l|tojson }}", "MaxValueDepth")]
    [InlineData("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = {'k': n.l} %}{% endfor %}{{ n.l == {'k': n.l} }}{{ n.l|tojson(indent=1000) }}", "Max")]
    [InlineData("{% set x = 'x' * 1000000 %}{% for i in range(99) %}{{ x }}{% endfor %}", "MaxOutputChars")]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "MaxMacroDepth")]
    [InlineData("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "MaxMacroDepth")]
    [InlineData("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "MaxMacroDepth")]
    [InlineData("{% macro m(c) %}{% call m(c) %}{{ caller() }}{% endcall %}{% endmacro %}{{ m(1) }}", "MaxMacroDepth")]
    [InlineData("{% set x = ' ' * 9000000 %}{% for i in range(100000) %}{{ x|trim }}{% endfor %}", "MaxAllocatedBytes")]
    [InlineData("{% set x = '😀' * 4000000 %}{% for i in range(100000) %}{{ x|length }}{% endfor %}", "MaxSteps")]
    [InlineData("{% set x = 'a' * 9000000 %}{% for i in range(100000) %}{% if x[9] == 'b' %}{% endif %}{% endfor %}", "MaxSteps")]
    [InlineData("{% set x = 'a' * 9000000 %}{% set y = {x: 1} %}{% for i in range(100000) %}{% if y[x] %}{% endif %}{% endfor %}", "MaxSteps")]
    [InlineData("{{ ('a' * 2000000 ~ 'b') in 'a' * 9000000 }}", "MaxSteps")]
    [InlineData("{{ ('a' * 9000000).count('a' * 2000000 ~ 'b') }}", "MaxSteps")]
    [InlineData("{{ ('a' * 9000000).split('a' * 2000000 ~ 'b') }}", "MaxSteps")]
    [InlineData("{{ ('<' * 30000000)|e }}", "MaxAllocatedBytes")]
    [InlineData("{{ ('\\x01' * 40000000)|tojson }}", "MaxAllocatedBytes")]
    [InlineData("{{ ['\\x01' * 40000000] }}", "MaxAllocatedBytes")]
    [InlineData("{{ strftime_now('%c' * 1000) }}", "1000")]
    [InlineData("{{ 2 ** 99999999 }}", "bits")]
    [InlineData("{% set n = namespace(i=3) %}{% for i in range(99) %}{% set n.i = n.i * n.i %}{% endfor %}", "bits")]
    [InlineData("{{ range(1, 999999999) }}", "MAX_RANGE")]
    [InlineData("{{ '%999999999d' % 1 }}", "wider")]
    [InlineData("{{ '{:>999999999}'.format(1) }}", "wider")]
    [InlineData("{{ 'x'.center(999999999) }}", "MaxAllocatedBytes")]
    [InlineData("{{ [1]|slice(999999999)|list }}", "MaxAllocatedBytes")]
    [InlineData("{{ [1]|batch(999999999, 0)|list|length }}{{ 'x'|indent(999999999, true) * 999999 }}", "MaxAllocatedBytes")]
    public void What_would_hang_or_exhaust_the_server_is_stopped(string template, string reason)
    {
        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => Render(template));

        Assert.Contains(reason, error.Reason, StringComparison.Ordinal);
        Assert.Null(error.RaisedMessage);
        Assert.Equal(1, error.Line);
    }

    [Theory]
    [InlineData("(", "1", ")")]
    [InlineData("[", "1", "]")]
    [InlineData("{1:", "1", "}")]
    [InlineData("f(", "1", ")")]
    [InlineData("x[", "1", "]")]
    [InlineData("-", "1", "")]
    [InlineData("not ", "1", "")]
    [InlineData("1 if 1 else ", "1", "")]
    [InlineData("1 + ", "1", "")]
    [InlineData("1 or ", "1", "")]
    [InlineData("1 ** ", "1", "")]
    [InlineData("", "x", "|string")]
    [InlineData("", "x", ".y")]
    [InlineData("", "x", "()")]
    [InlineData("", "x", " is defined")]
    public void Deeply_nested_expressions_are_refused_when_read(string open, string middle, string close)
    {
        string expression = string.Concat(Enumerable.Repeat(open, 20_000)) + middle + string.Concat(Enumerable.Repeat(close, 20_000));

        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("{{ " + expression + " }}"));
    }

    [Theory]
    [InlineData("{% if true %}", "{% endif %}")]
    [InlineData("{% for i in [1] %}", "{% endfor %}")]
    [InlineData("{% macro m() %}", "{% endmacro %}")]
    [InlineData("{% set x %}", "{% endset %}")]
    [InlineData("{% filter upper %}", "{% endfilter %}")]
    [InlineData("{% with %}", "{% endwith %}")]
    public void Deeply_nested_blocks_are_refused_when_read(string open, string close)
    {
        string template = string.Concat(Enumerable.Repeat(open, 20_000)) + string.Concat(Enumerable.Repeat(close, 20_000));

        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template));
    }

    [Fact]
    public void Macros_in_macros_fit_on_the_stack_of_a_thread()
    {
        string nested = new string('(', 40) + "1" + string.Concat(Enumerable.Repeat(" + 1)", 40));
        string template = "{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{% else %}{{ " + nested + " }}{% endif %}{% endmacro %}{{ m(90) }}";
        string? text = null;
        Exception? caught = null;
        Thread thread = new(() => caught = Record.Exception(() => text = Render(template)), maxStackSize: 1024 * 1024);

        thread.Start();
        thread.Join();

        Assert.Null(caught);
        Assert.Equal("41", text);
    }

    [Fact]
    public void A_stack_that_is_too_small_is_an_error_not_a_crash()
    {
        string chain = "1" + string.Concat(Enumerable.Repeat(" + 1", 490));
        string template = "{% macro m(n) %}{{ (m(n - 1) if n > 0 else 0)|int " + chain[1..] + " }}{% endmacro %}{{ m(90) }}";
        Exception? caught = null;
        Thread thread = new(() => caught = Record.Exception(() => Render(template)), maxStackSize: 256 * 1024);

        thread.Start();
        thread.Join();

        Assert.IsType<ChatTemplateException>(caught);
    }

    [Theory]
    [InlineData("{{ ''.__class__.__mro__ }}")]
    [InlineData("{{ messages.GetType() }}")]
    [InlineData("{{ {}.update({'a': 1}) }}")]
    [InlineData("{{ [].append(1) }}")]
    [InlineData("{{ range.__globals__ }}{{ range.Method.DeclaringType }}")]
    [InlineData("{{ loop.__init__() }}{{ ''.Length.ToString() }}")]
    [InlineData("{% for i in [1] %}{{ loop.Items.Clear() }}{% endfor %}")]
    [InlineData("{{ '{0.__class__}'.format(1) }}")]
    [InlineData("{% include 'secrets' %}")]
    [InlineData("{% import 'os' as os %}")]
    [InlineData("{% extends 'base' %}")]
    public void Nothing_outside_of_the_template_can_be_reached(string template)
    {
        Assert.Throws<ChatTemplateException>(() => Render(template));
    }

    [Fact]
    public void Deeply_nested_input_is_refused()
    {
        string json = "{\"x\": " + new string('[', 500) + new string(']', 500) + "}";
        using JsonDocument variables = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 1000 });

        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("{{ x }}").Render(variables.RootElement));
    }

    [Fact]
    public void Half_a_surrogate_pair_in_the_input_is_refused()
    {
        using JsonDocument variables = JsonDocument.Parse("{\"x\": \"\\ud83d\"}");

        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("{{ x }}").Render(variables.RootElement));
    }

    [Fact]
    public void A_cancelled_rendering_ends()
    {
        using JsonDocument none = JsonDocument.Parse("{}");
        ChatTemplate template = ChatTemplate.Parse("{% for a in range(100000) %}{% endfor %}");

        Assert.ThrowsAny<OperationCanceledException>(() => template.Render(none.RootElement, new CancellationToken(canceled: true)));
    }

    private static string Render(string template)
    {
        using JsonDocument none = JsonDocument.Parse("{}");
        return ChatTemplate.Parse(template).Render(none.RootElement);
    }
}
