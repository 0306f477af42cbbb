using Google.Protobuf.Reflection;
using Grpc.AspNetCore.Server;
using ServiceDescriptor = Google.Protobuf.Reflection.ServiceDescriptor;

namespace InferenceServer.Server.Grpc;

/// <summary>The mapped services with the files, messages, fields, enums and methods that describe them, by name.</summary>
internal sealed class ReflectionIndex
{
    private readonly SortedSet<string> _services = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FileDescriptor> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FileDescriptor> _symbols = new(StringComparer.Ordinal);

    public ReflectionIndex(EndpointDataSource endpoints)
    {
        foreach (GrpcMethodMetadata mapped in endpoints.Endpoints.SelectMany(e => e.Metadata.OfType<GrpcMethodMetadata>()))
        {
            if (_services.Add(mapped.Method.ServiceName) && GeneratedService.Find(mapped.ServiceType).Descriptor is { } service)
            {
                AddFile(service.File);
            }
        }
    }

    public IReadOnlyCollection<string> Services => _services;

    public FileDescriptor? FileByName(string name) => _files.GetValueOrDefault(name);

    public FileDescriptor? FileBySymbol(string fullName) => _symbols.GetValueOrDefault(fullName);

    private void AddFile(FileDescriptor file)
    {
        if (!_files.TryAdd(file.Name, file))
        {
            return;
        }

        foreach (FileDescriptor import in file.Dependencies)
        {
            AddFile(import);
        }

        foreach (ServiceDescriptor service in file.Services)
        {
            _symbols[service.FullName] = file;
            AddAll(service.Methods);
        }

        AddEnums(file.EnumTypes);
        AddMessages(file.MessageTypes);
    }

    private void AddMessages(IEnumerable<MessageDescriptor> messages)
    {
        foreach (MessageDescriptor message in messages)
        {
            _symbols[message.FullName] = message.File;
            AddAll(message.Fields.InDeclarationOrder());
            AddAll(message.Oneofs);
            AddEnums(message.EnumTypes);
            AddMessages(message.NestedTypes);
        }
    }

    private void AddEnums(IEnumerable<EnumDescriptor> enums)
    {
        foreach (EnumDescriptor one in enums)
        {
            _symbols[one.FullName] = one.File;
            AddAll(one.Values);
        }
    }

    private void AddAll(IEnumerable<DescriptorBase> descriptors)
    {
        foreach (DescriptorBase descriptor in descriptors)
        {
            _symbols[descriptor.FullName] = descriptor.File;
        }
    }
}
