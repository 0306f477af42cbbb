using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;
using Xunit;
using Alpha = Grpc.Reflection.V1Alpha;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

public sealed class ReflectionTests(ProbeServerFixture fixture) : IClassFixture<ProbeServerFixture>
{
    private const string ProbeName = "inferenceserver.tests.probe.Probe";

    [Fact]
    public async Task Lists_the_mapped_services()
    {
        ServerReflectionResponse answer = await AskAsync(new ServerReflectionRequest { ListServices = "", Host = "h" });

        Assert.Equal(
            ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", ProbeName],
            answer.ListServicesResponse.Service.Select(service => service.Name));
        Assert.Equal("h", answer.ValidHost);
        Assert.Equal("h", answer.OriginalRequest.Host);
    }

    [Theory]
    [InlineData(ProbeName)]
    [InlineData(ProbeName + ".Duplex")]
    [InlineData("inferenceserver.tests.probe.ProbeRequest")]
    [InlineData("inferenceserver.tests.probe.ProbeRequest.text")]
    [InlineData("inferenceserver.tests.probe.ProbeRequest.payload")]
    [InlineData("inferenceserver.tests.probe.ProbeRequest.Nested")]
    [InlineData("inferenceserver.tests.probe.Kind")]
    public async Task Gives_the_file_of_a_symbol_with_what_it_imports(string symbol)
    {
        ServerReflectionResponse answer = await AskAsync(new ServerReflectionRequest { FileContainingSymbol = symbol });

        ByteString[] files = [.. answer.FileDescriptorResponse.FileDescriptorProto];
        IReadOnlyList<FileDescriptor> built = FileDescriptor.BuildFromByteStrings([.. files.Skip(1), files[0]]);
        Assert.Equal(
            ["google/protobuf/empty.proto", "google/protobuf/timestamp.proto", "probe.proto"],
            built.Select(f => f.Name).Order(StringComparer.Ordinal));
        ServiceDescriptor service = Assert.Single(built[^1].Services);
        Assert.Equal(ProbeName, service.FullName);
        Assert.Equal(7, service.Methods.Count);
    }

    [Fact]
    public async Task Gives_a_file_by_its_name()
    {
        ServerReflectionResponse answer = await AskAsync(new ServerReflectionRequest { FileByFilename = "grpc/health/v1/health.proto" });

        Assert.Equal(
            [Grpc.Health.V1.HealthReflection.Descriptor.SerializedData],
            answer.FileDescriptorResponse.FileDescriptorProto);
    }

    [Fact]
    public async Task Says_what_it_does_not_know()
    {
        ServerReflectionRequest[] unknown =
        [
            new() { FileContainingSymbol = "no.Such" },
            new() { FileByFilename = "no.proto" },
            new() { AllExtensionNumbersOfType = "no.Such" },
            new() { FileContainingExtension = new() { ContainingType = "no.Such", ExtensionNumber = 1 } },
        ];
        foreach (ServerReflectionRequest request in unknown)
        {
            Assert.Equal((int)StatusCode.NotFound, (await AskAsync(request)).ErrorResponse.ErrorCode);
        }

        Assert.Equal((int)StatusCode.InvalidArgument, (await AskAsync(new ServerReflectionRequest())).ErrorResponse.ErrorCode);
        ServerReflectionResponse none = await AskAsync(
            new ServerReflectionRequest { AllExtensionNumbersOfType = "inferenceserver.tests.probe.ProbeRequest" });
        Assert.Empty(none.AllExtensionNumbersResponse.ExtensionNumber);
    }

    [Fact]
    public async Task Answers_v1alpha_alike()
    {
        Alpha.ServerReflection.ServerReflectionClient client = new(fixture.Server.Channel);
        using AsyncDuplexStreamingCall<Alpha.ServerReflectionRequest, Alpha.ServerReflectionResponse> call = client.ServerReflectionInfo();
        await call.RequestStream.WriteAsync(new Alpha.ServerReflectionRequest { ListServices = "" });
        Assert.True(await call.ResponseStream.MoveNext());

        Assert.Contains(call.ResponseStream.Current.ListServicesResponse.Service, service => service.Name == ProbeName);

        await call.RequestStream.WriteAsync(new Alpha.ServerReflectionRequest { FileContainingSymbol = ProbeName });
        Assert.True(await call.ResponseStream.MoveNext());
        Assert.Equal(3, call.ResponseStream.Current.FileDescriptorResponse.FileDescriptorProto.Count);
        await call.RequestStream.CompleteAsync();
        Assert.False(await call.ResponseStream.MoveNext());
    }

    private async Task<ServerReflectionResponse> AskAsync(ServerReflectionRequest request)
    {
        ServerReflection.ServerReflectionClient client = new(fixture.Server.Channel);
        using AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call = client.ServerReflectionInfo();
        await call.RequestStream.WriteAsync(request);
        await call.RequestStream.CompleteAsync();
        Assert.True(await call.ResponseStream.MoveNext());
        ServerReflectionResponse answer = call.ResponseStream.Current;
        Assert.False(await call.ResponseStream.MoveNext());
        return answer;
    }
}
