using System.Text;
using Grpc.Wire;
using Xunit;

namespace InferenceServer.UnitTests.Grpc;

public sealed class PercentEncodingTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("plain text ~!", "plain text ~!")]
    [InlineData("100%", "100%25")]
    [InlineData("ü", "%C3%BC")]
    [InlineData("a\r\nb\t", "a%0D%0Ab%09")]
    [InlineData("\u007f", "%7F")]
    [InlineData("😀", "%F0%9F%98%80")]
    public void All_but_printable_ASCII_and_the_percent_sign_is_encoded(string message, string encoded)
    {
        Assert.Equal(encoded, PercentEncoding.Encode(message));
        Assert.Equal(message, PercentEncoding.Decode(encoded));
    }

    [Theory]
    [InlineData("100%", "100%")]
    [InlineData("%zz", "%zz")]
    [InlineData("%4", "%4")]
    [InlineData("%c3%bc", "ü")]
    public void What_is_no_encoding_is_kept(string encoded, string message)
    {
        Assert.Equal(message, PercentEncoding.Decode(encoded));
    }

    [Fact]
    public void Any_text_survives_and_is_printable_ASCII_on_the_way()
    {
        Random random = new(2);
        for (int i = 0; i < 500; i++)
        {
            StringBuilder text = new();
            for (int length = random.Next(20); length > 0; length--)
            {
                int rune = random.Next(0x10FFFF);
                text.Append(Rune.IsValid(rune) ? new Rune(rune) : new Rune('%'));
            }

            string encoded = PercentEncoding.Encode(text.ToString());

            Assert.DoesNotContain(encoded, c => c is < ' ' or > '~');
            Assert.Equal(text.ToString(), PercentEncoding.Decode(encoded));
        }
    }
}
