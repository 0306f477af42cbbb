using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;
using Asked = Grpc.Reflection.V1.ServerReflectionRequest.MessageRequestOneofCase;

namespace InferenceServer.Server.Grpc;

/// <summary>grpc.reflection.v1.ServerReflection over the services that are mapped.</summary>
/// <remarks>Register it as a singleton; it looks at the endpoints at the first call.</remarks>
public sealed class ReflectionServiceImpl(EndpointDataSource endpoints) : ServerReflection.ServerReflectionBase
{
    private readonly Lazy<ReflectionIndex> _index = new(() => new ReflectionIndex(endpoints));

    public override async Task ServerReflectionInfo(
        IAsyncStreamReader<ServerReflectionRequest> requestStream,
        IServerStreamWriter<ServerReflectionResponse> responseStream,
        ServerCallContext context)
    {
        await foreach (ServerReflectionRequest request in requestStream.ReadAllAsync(context.CancellationToken))
        {
            await responseStream.WriteAsync(Answer(request), context.CancellationToken);
        }
    }

    internal ServerReflectionResponse Answer(ServerReflectionRequest request)
    {
        ReflectionIndex index = _index.Value;
        ServerReflectionResponse response = request.MessageRequestCase switch
        {
            Asked.ListServices => new()
            {
                ListServicesResponse = new() { Service = { index.Services.Select(name => new ServiceResponse { Name = name }) } },
            },
            Asked.FileByFilename => FileAnswer(index.FileByName(request.FileByFilename), request.FileByFilename),
            Asked.FileContainingSymbol => FileAnswer(index.FileBySymbol(request.FileContainingSymbol), request.FileContainingSymbol),

            // proto3 has no extensions, so a type that is known has none.
            Asked.AllExtensionNumbersOfType when index.FileBySymbol(request.AllExtensionNumbersOfType) is not null => new()
            {
                AllExtensionNumbersResponse = new() { BaseTypeName = request.AllExtensionNumbersOfType },
            },
            Asked.AllExtensionNumbersOfType => Error(StatusCode.NotFound, $"there is no '{request.AllExtensionNumbersOfType}'"),
            Asked.FileContainingExtension => Error(
                StatusCode.NotFound,
                $"'{request.FileContainingExtension.ContainingType}' has no extension {request.FileContainingExtension.ExtensionNumber}"),
            _ => Error(StatusCode.InvalidArgument, "the request asks nothing"),
        };
        response.ValidHost = request.Host;
        response.OriginalRequest = request;
        return response;
    }

    private static ServerReflectionResponse FileAnswer(FileDescriptor? file, string asked)
    {
        if (file is null)
        {
            return Error(StatusCode.NotFound, $"there is no '{asked}'");
        }

        // The file and everything it imports, so that the client needs no second question.
        List<FileDescriptor> files = [file];
        for (int i = 0; i < files.Count; i++)
        {
            files.AddRange(files[i].Dependencies.Except(files).ToArray());
        }

        return new() { FileDescriptorResponse = new() { FileDescriptorProto = { files.Select(f => f.SerializedData) } } };
    }

    private static ServerReflectionResponse Error(StatusCode code, string message) =>
        new() { ErrorResponse = new() { ErrorCode = (int)code, ErrorMessage = message } };
}
