using InferenceServer.AdapterStore.Catalog;
using InferenceServer.Training.Export;

namespace InferenceServer.Training.Runs;

/// <summary>Puts what a run exports where it is looked for: whole and durable, or not at all.</summary>
internal static class DurableFolder
{
    /// <summary>Exports the adapter to a folder.</summary>
    public static void WriteAdapter(StoreFiles files, Trainer trainer, string folder)
    {
        string aside = Path.Combine(Path.GetDirectoryName(folder)!, ".writing-" + Path.GetFileName(folder));
        files.DeleteTree(aside);
        PeftExporter.Write(trainer, aside);
        Publish(files, aside, folder);
    }

    /// <summary>Makes the files of a folder durable and moves it to its place, over what was there.</summary>
    public static void Publish(StoreFiles files, string aside, string folder)
    {
        foreach (string path in Directory.GetFiles(aside))
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
            files.Sync(file);
        }

        files.SyncDirectory(aside);
        files.DeleteTree(folder);
        files.MoveDirectory(aside, folder);
        files.SyncDirectory(Path.GetDirectoryName(folder)!);
    }
}
