using InferenceServer.Tensors;

namespace InferenceServer.Training.Tape;

/// <summary>Which weights of the base, or of its replacements, are parameters: the forward names them, the tape uses the parameters.</summary>
internal sealed class TrainedWeights
{
    private readonly Dictionary<WeightMatrix, Parameter> _matrices = [];
    private readonly Dictionary<DeviceBuffer, Parameter> _vectors = [];

    public void Add(WeightMatrix matrix, Parameter parameter) => _matrices.Add(matrix, parameter);

    public void Add(DeviceBuffer vector, Parameter parameter) => _vectors.Add(vector, parameter);

    public Parameter? Find(WeightMatrix matrix) => _matrices.GetValueOrDefault(matrix);

    public Parameter? Find(DeviceBuffer vector) => _vectors.GetValueOrDefault(vector);
}
