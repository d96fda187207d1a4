/* Reading kernel objects. Every TASK_…, FILE_…, SOCK_… below is the offset of a member in the running
 * kernel's own structures: taken from its BTF and defined before this file (kernel/offsets.py).
 *
 * Newer kernels let a program read any address by an instruction; an address that isn't there reads as 0, as with the
 * helper. DIRECT_READS is the number that the loader puts the kernel's function in for (kernel/loader.py), READABLE_TYPE
 * the type that this makes of an address (kernel/direct_reads.py). OBJECT makes an address readable, MEMBER reads from
 * it at a constant offset; where members are read that are next to each other in the code, one OBJECT for all of them
 * is quicker. */

#ifdef DIRECT_READS
static void *(*readable)(const void *pointer, u32 type) = (void *)DIRECT_READS;
#define OBJECT(pointer) ((const char *)readable((const void *)(pointer), READABLE_TYPE))
#define MEMBER(type, object, offset) (*(const volatile type *)((object) + (offset)))
#else
#define OBJECT(pointer) ((const char *)(pointer))
#define MEMBER(type, object, offset)                                                           \
	({                                                                                     \
		type value_ = 0;                                                               \
		bpf_probe_read_kernel(&value_, sizeof(value_), (object) + (offset));           \
		value_;                                                                        \
	})
#endif

#define READ(type, pointer, offset) MEMBER(type, OBJECT(pointer), offset)
#define READ_AT(type, address) MEMBER(type, OBJECT(address), 0)
#define READ_POINTER(pointer, offset) ((const char *)READ(u64, pointer, offset))
#define MEMBER_POINTER(object, offset) ((const char *)MEMBER(u64, object, offset))

#define READ_USER(type, address)                                                               \
	({                                                                                     \
		type value_ = 0;                                                               \
		bpf_probe_read_user(&value_, sizeof(value_), (const void *)(address));         \
		value_;                                                                        \
	})

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AT_FDCWD -100
