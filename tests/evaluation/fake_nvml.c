/* An NVML with two 16 GiB cards: card 0 uses 10 MiB, card 1 what the file FAKE_GPU_MIB says.
   FAKE_NVML_INIT is the answer of nvmlInit, FAKE_NVML_COUNT the number of cards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { unsigned long long total, free, used; } memory_t;

static int number(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

int nvmlInitWithFlags(unsigned flags) { return number("FAKE_NVML_INIT", 0); }
int nvmlInit_v2(void) { return number("FAKE_NVML_INIT", 0); }
int nvmlShutdown(void) { return 0; }

const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : "Driver Not Loaded"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = number("FAKE_NVML_COUNT", 2);
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(size_t)(index + 1);
    return 0;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    snprintf(name, length, "Fake card %d", (int)(size_t)handle - 1);
    return 0;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-fake-%d", (int)(size_t)handle - 1);
    return 0;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "510.60.02");
    return 0;
}

/* 50 W since the clock began */
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    struct timespec now;
    (void)handle;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *mj = 50000ULL * now.tv_sec + now.tv_nsec / 20000;
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    double mib = 10;
    if ((size_t)handle == 2) {
        FILE *file = fopen(getenv("FAKE_GPU_MIB"), "r");
        if (!file) return 15;
        if (fscanf(file, "%lf", &mib) != 1) mib = 0;
        fclose(file);
    }
    memory->total = 16384ULL << 20;
    memory->free = memory->total - (unsigned long long)(mib * (1 << 20));
    memory->used = 1; /* nobody reads it */
    return 0;
}
