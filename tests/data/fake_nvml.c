#define _DEFAULT_SOURCE
/* Stands in for libnvidia-ml.so.1. $HOME/nvml has one card a line, read at nvmlInit_v2 and at nvmlDeviceGetCount_v2:
     NAME|TOTAL MIB|USED MIB|UUID|PCI BUS ID|PID:MIB PID:MIB|STATE
   STATE may be left out: `lost` answers nothing any more, `unified` has no memory of its own, `divided` consists of the
   lines below it that are `part`s. A first line `!mismatch`
   is a library that is newer than the kernel's module. No such file: the driver is not loaded.
   Every nvmlInit_v2 is noted in $HOME/nvml-inits as `init`, every nvmlInitWithFlags as `init FLAGS`; every card that is
   asked for by its address in $HOME/nvml-asked.
   What is not here (processes that draw, for one) is what an old driver does not have. Written for these tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15,
    LIB_RM_VERSION_MISMATCH = 18
};

struct card { char name[96], uuid[96], bus[32], held[256], state[32]; unsigned long long total, used; };
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

static void note(const char *name, const char *line) {
    FILE *file = at_home(name, "a");
    if (file) { fprintf(file, "%s\n", line); fclose(file); }
}

static void field(char **line, char *to, size_t size) {
    char *word = strsep(line, "|");
    snprintf(to, size, "%s", word ? word : "");
}

static int read_cards(void) {
    FILE *file = at_home("nvml", "r");
    if (!file) return DRIVER_NOT_LOADED;
    char text[1024], number[32];
    int said = SUCCESS;
    for (count = 0; count < 8 && fgets(text, sizeof text, file);) {
        text[strcspn(text, "\n")] = 0;
        if (!strcmp(text, "!mismatch")) { said = LIB_RM_VERSION_MISMATCH; break; }
        if (!*text) continue;
        struct card *card = &cards[count++];
        char *line = text;
        field(&line, card->name, sizeof card->name);
        field(&line, number, sizeof number);
        card->total = strtoull(number, NULL, 10);
        field(&line, number, sizeof number);
        card->used = strtoull(number, NULL, 10);
        field(&line, card->uuid, sizeof card->uuid);
        field(&line, card->bus, sizeof card->bus);
        field(&line, card->held, sizeof card->held);
        field(&line, card->state, sizeof card->state);
    }
    fclose(file);
    return said;
}

static int is(void *device, const char *state) { return !strcmp(((struct card *)device)->state, state); }

/* Parts stand behind the cards: they are none of those that are counted. */
static int whole(void) {
    int found = 0;
    for (unsigned index = 0; index < count; index++) found += !is(&cards[index], "part");
    return found;
}

int nvmlInit_v2(void) {
    note("nvml-inits", "init");
    return read_cards();
}

int nvmlInitWithFlags(unsigned flags) {
    char line[32];
    snprintf(line, sizeof line, "init %u", flags);
    note("nvml-inits", line);
    return read_cards();
}

int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.82.07"); return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *number) {
    int said = read_cards();
    *number = whole();
    return said;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= count) return NOT_FOUND;
    *device = &cards[index];
    return SUCCESS;
}

/* Addresses have four digits of their domain in sysfs, and eight here. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
    note("nvml-asked", bus);
    for (unsigned index = 0; index < count; index++) {
        const char *own = strchr(cards[index].bus, ':'), *asked = strchr(bus, ':');
        if (!own || !asked || strcasecmp(own, asked)) continue;
        *device = &cards[index];
        return SUCCESS;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    if (is(device, "part")) return NOT_SUPPORTED;
    *current = *pending = is(device, "divided");
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *number) {
    (void)device;
    *number = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **part) {
    (void)device;
    if (whole() + index >= count) return NOT_FOUND;
    *part = &cards[whole() + index];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    if (is(device, "lost")) return GPU_IS_LOST;
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
    if (is(device, "lost")) return GPU_IS_LOST;
    if (is(device, "unified")) return NOT_SUPPORTED;
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
