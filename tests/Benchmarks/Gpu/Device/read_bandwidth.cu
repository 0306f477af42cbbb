// Reads count times 16 bytes and keeps nothing of them: four independent loads of each thread are under way at once.
extern "C" __global__ void read_all(const uint4* __restrict__ x, unsigned long long count, unsigned* y)
{
    unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned sum = 0;
    for (; at + 3 * stride < count; at += 4 * stride)
    {
        uint4 a = x[at], b = x[at + stride], c = x[at + 2 * stride], d = x[at + 3 * stride];
        sum ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
    }

    for (; at < count; at += stride)
    {
        uint4 a = x[at];
        sum ^= a.x ^ a.y ^ a.z ^ a.w;
    }

    // Hardly ever true of random numbers, but the compiler cannot know.
    if (sum == 0x5EED1234u)
    {
        *y = sum;
    }
}
