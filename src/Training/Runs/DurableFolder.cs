using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Training.Export;

namespace InferenceServer.Training.Runs;

/// <summary>Puts a trained adapter where it is looked for: whole and durable, or not at all.</summary>
internal static class AdapterFolder
{
    public static void Write(StoreFiles files, Trainer trainer, string folder)
    {
        string parent = Path.GetDirectoryName(folder)!;
        string temporary = Path.Combine(parent, ".writing-" + Path.GetFileName(folder));
        files.DeleteTree(temporary);
        PeftExporter.Write(trainer, temporary);
        foreach (string path in Directory.GetFiles(temporary))
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
            files.Sync(file);
        }

        files.SyncDirectory(temporary);
        files.DeleteTree(folder);
        files.MoveDirectory(temporary, folder);
        files.SyncDirectory(parent);
    }
}
