using Google.Protobuf.Reflection;

namespace InferenceServer.IntegrationTests.GrpcRuntime;

/// <summary>Writes what foreign clients make their stubs of.</summary>
public static class DescriptorSets
{
    /// <summary>Writes the files, each after what it imports, as a google.protobuf.FileDescriptorSet.</summary>
    public static void Write(string path, params IEnumerable<FileDescriptor> files)
    {
        // FileDescriptorSet { repeated FileDescriptorProto file = 1 }
        using FileStream stream = File.Create(path);
        using Google.Protobuf.CodedOutputStream output = new(stream);
        HashSet<FileDescriptor> written = [];
        void Add(FileDescriptor file)
        {
            if (written.Add(file))
            {
                foreach (FileDescriptor import in file.Dependencies)
                {
                    Add(import);
                }

                output.WriteTag(1, Google.Protobuf.WireFormat.WireType.LengthDelimited);
                output.WriteBytes(file.SerializedData);
            }
        }

        foreach (FileDescriptor file in files)
        {
            Add(file);
        }
    }
}
