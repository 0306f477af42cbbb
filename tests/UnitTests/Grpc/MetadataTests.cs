using Grpc.Core;
using Grpc.Wire;
using Xunit;

namespace InferenceServer.UnitTests.Grpc;

public sealed class MetadataTests
{
    [Fact]
    public void Keys_are_lower_case_and_found_in_any_case_the_last_entry_first()
    {
        Metadata metadata = new() { { "X-Key", "1" }, { "x-key", "2" } };

        Assert.Equal("x-key", metadata[0].Key);
        Assert.Equal("2", metadata.GetValue("X-KEY"));
        Assert.Equal(["1", "2"], metadata.GetAll("x-key").Select(entry => entry.Value));
        Assert.Null(metadata.GetValue("absent"));
    }

    [Theory]
    [InlineData("a b", "v")]
    [InlineData("a:b", "v")]
    [InlineData("ä", "v")]
    [InlineData("", "v")]
    [InlineData("a-bin", "v")]
    [InlineData("a", "ü")]
    [InlineData("a", "line\n")]
    public void What_HTTP_cannot_carry_is_refused(string key, string value)
    {
        Assert.ThrowsAny<ArgumentException>(() => new Metadata { { key, value } });
    }

    [Fact]
    public void A_binary_value_needs_a_binary_key()
    {
        Assert.Throws<ArgumentException>(() => new Metadata { { "a", [1] } });
    }

    [Fact]
    public void The_empty_metadata_cannot_be_filled()
    {
        Assert.Throws<InvalidOperationException>(() => Metadata.Empty.Add("a", "b"));
    }

    [Theory]
    [InlineData(new byte[0], "")]
    [InlineData(new byte[] { 0 }, "AA")]
    [InlineData(new byte[] { 0, 255 }, "AP8")]
    [InlineData(new byte[] { 0, 255, 7 }, "AP8H")]
    public void Binary_values_are_base64_without_padding(byte[] bytes, string header)
    {
        Assert.Equal(header, WireMetadata.HeaderValue(new Metadata.Entry("a-bin", bytes)));
    }

    [Theory]
    [InlineData("AP8", 1)]
    [InlineData("AP8=", 1)]
    [InlineData("AP8=, AP8", 2)]
    [InlineData("AP8,AP8", 2)]
    public void Binary_headers_are_read_with_and_without_padding_and_joined(string header, int values)
    {
        Metadata metadata = [];

        WireMetadata.AddTo(metadata, "X-Some-Bin", header);

        Assert.Equal(values, metadata.Count);
        Assert.All(metadata, entry => Assert.Equal([0, 255], entry.ValueBytes));
        Assert.All(metadata, entry => Assert.Equal("x-some-bin", entry.Key));
    }

    [Theory]
    [InlineData("*")]
    [InlineData("A")]
    [InlineData("AAAAA")]
    public void A_binary_header_that_is_no_base64_is_INTERNAL_and_named(string header)
    {
        RpcException failure = Assert.Throws<RpcException>(() => WireMetadata.AddTo([], "x-some-bin", header));

        Assert.Equal(StatusCode.Internal, failure.StatusCode);
        Assert.Equal("the metadata 'x-some-bin' is not valid base64", failure.Status.Detail);
    }

    [Theory]
    [InlineData(":path")]
    [InlineData("grpc-timeout")]
    [InlineData("Grpc-Encoding")]
    [InlineData("content-type")]
    [InlineData("TE")]
    public void Headers_of_the_protocol_are_no_metadata(string name)
    {
        Metadata metadata = [];

        WireMetadata.AddTo(metadata, name, "v");

        Assert.Empty(metadata);
    }

    [Fact]
    public void Status_details_are_metadata_and_foreign_text_is_kept_as_it_came()
    {
        Metadata metadata = [];

        WireMetadata.AddTo(metadata, "grpc-status-details-bin", "AP8");
        WireMetadata.AddTo(metadata, "x-other!", "größe");

        Assert.Equal([0, 255], metadata.GetValueBytes("grpc-status-details-bin"));
        Assert.Equal("größe", metadata.GetValue("x-other!"));
    }

    [Theory]
    [InlineData("application/grpc", true)]
    [InlineData("application/grpc+proto", true)]
    [InlineData("Application/GRPC;charset=x", true)]
    [InlineData("application/grpc-web", false)]
    [InlineData("application/json", false)]
    [InlineData("", false)]
    [InlineData(null, false)]
    public void The_content_type_says_what_is_gRPC(string? contentType, bool isGrpc)
    {
        Assert.Equal(isGrpc, GrpcHeaders.IsGrpcContentType(contentType));
    }
}
