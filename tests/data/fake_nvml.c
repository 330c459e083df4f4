/* Stands in for libnvidia-ml.so.1. $HOME/nvml has one card a line, read at nvmlInit_v2:
     NAME|TOTAL MIB|USED MIB|UUID|PCI BUS ID|PID:MIB PID:MIB
   No such file: the driver is not loaded. Every nvmlInit_v2 is noted in $HOME/nvml-inits.
   What is not here (processes that draw, for one) is what an old driver does not have. Written for these tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9 };

struct card { char name[96], uuid[96], bus[32], held[256]; unsigned long long total, used; };
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
struct memory { unsigned version; unsigned long long total, reserved, free, used; };
struct process { unsigned pid; unsigned long long used; unsigned gpu, compute; };

static struct card cards[8];
static unsigned count;

static FILE *at_home(const char *name, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("HOME"), name);
    return fopen(path, mode);
}

int nvmlInit_v2(void) {
    FILE *note = at_home("nvml-inits", "a");
    if (note) { fputs("init\n", note); fclose(note); }
    FILE *file = at_home("nvml", "r");
    if (!file) return DRIVER_NOT_LOADED;
    char line[1024];
    for (count = 0; count < 8 && fgets(line, sizeof line, file); count++) {
        struct card *card = &cards[count];
        card->held[0] = 0;
        sscanf(line, "%95[^|]|%llu|%llu|%95[^|]|%31[^|]|%255[^\n]", card->name, &card->total, &card->used,
               card->uuid, card->bus, card->held);
    }
    fclose(file);
    return SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.82.07"); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *number) { *number = count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= count) return NOT_FOUND;
    *device = &cards[index];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    snprintf(text, size, "%s", ((struct card *)device)->name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    if (!strcmp(((struct card *)device)->uuid, "-")) return NOT_SUPPORTED;
    snprintf(text, size, "%s", ((struct card *)device)->uuid);
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%s", ((struct card *)device)->bus);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *memory) {
    struct card *card = device;
    memory->total = card->total << 20;
    memory->used = card->used << 20;
    memory->reserved = 0;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *number, struct process *found) {
    unsigned room = *number, there = 0;
    char held[256];
    snprintf(held, sizeof held, "%s", ((struct card *)device)->held);
    for (char *word = strtok(held, " "); word; word = strtok(NULL, " "), there++) {
        if (there >= room) continue;
        memset(&found[there], 0, sizeof found[there]);
        sscanf(word, "%u:%llu", &found[there].pid, &found[there].used);
        found[there].used <<= 20;
    }
    *number = there;
    return there > room ? INSUFFICIENT_SIZE : SUCCESS;
}
