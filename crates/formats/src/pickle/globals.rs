//! What loading a pickle may reach: names that only rebuild tensors, and names that are known to run or read things.
//! Decides about names alone; whatever is in neither list is unknown, and nobody vouches for it.

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Rebuilds tensors and plain containers, and does nothing else.
    Harmless,
    /// Runs code or programs, or reaches files or the network.
    Dangerous,
    Unknown,
}

/// What PyTorch's own restricted loader lets pass (`_get_allowed_globals` in `torch/_weights_only_unpickler.py`, 2.9),
/// and what NumPy needs for its scalars and arrays, which training tools leave in checkpoints.
const HARMLESS: &[(&str, &str)] = &[
    ("collections", "OrderedDict Counter"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size Tensor device"),
    ("_codecs", "encode"),
    ("builtins", "bytearray set complex"),
    // Protocol 2 has the names of Python 2.
    ("__builtin__", "bytearray set complex"),
    (
        "torch",
        "float16 float32 float64 bfloat16 half float double complex32 complex64 complex128 uint8 uint16 uint32 \
         uint64 int8 int16 int32 int64 short int long bool quint8 qint8 qint32 quint4x2 quint2x4 float8_e4m3fn \
         float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 uint1 uint2 uint3 uint4 uint5 \
         uint6 uint7 int1 int2 int3 int4 int5 int6 int7",
    ),
    (
        "torch",
        "per_tensor_affine per_tensor_symmetric per_channel_affine per_channel_symmetric \
         per_channel_affine_float_qparams",
    ),
    ("torch.storage", "UntypedStorage TypedStorage"),
    (
        "torch._utils",
        "_rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_tensor _rebuild_tensor_v2 \
         _rebuild_tensor_v3 _rebuild_sparse_tensor _rebuild_meta_tensor_no_storage _rebuild_nested_tensor \
         _rebuild_wrapper_subclass _rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor",
    ),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("numpy", "dtype ndarray"),
    ("numpy.core.multiarray", "_reconstruct scalar"),
    ("numpy._core.multiarray", "_reconstruct scalar"),
];

/// Of `torch` and `torch.cuda`, with `Storage` or `Tensor` behind.
const ELEMENTS: &str = "Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble QUInt8 \
                        QInt8 QInt32 QUInt4x2 QUInt2x4 Untyped";

/// Modules of which nothing belongs into a model, with all below them: they run code or programs, or reach files,
/// memory or the network. After what picklescan, modelscan and fickling were taught, one advisory at a time.
const MODULES: &str = "os posix nt subprocess sys socket shutil runpy pty commands importlib imp pip code codeop pdb \
    bdb trace timeit profile cProfile ctypes _ctypes cffi webbrowser requests httplib http urllib urllib2 urllib3 \
    httpx aiohttp asyncio multiprocessing signal tempfile marshal pickle _pickle cPickle dill cloudpickle shelve \
    idlelib lib2to3 pydoc pkgutil venv ensurepip distutils setuptools doctest imaplib ftplib smtplib telnetlib poplib \
    nntplib xmlrpc socketserver ssl antigravity py_compile compileall zipimport zipapp fileinput linecache _pyrepl \
    _osx_support _aix_support popen2 sysconfig turtle tkinter cgi fcntl mmap atexit logging.config logging.handlers \
    numpy.f2py numpy.testing numpy.distutils torch.hub torch.utils.cpp_extension torch.utils.collect_env \
    torch.utils.bottleneck torch.utils._config_module torch.utils.data.datapipes torch.utils.hipify torch._dynamo \
    torch._inductor torch.distributed.rpc torch.fx.experimental torch.jit.unsupported_tensor_ops torch.package \
    torch.ops torch.classes torch._ops torch._classes";

/// Names that do so in modules that also have harmless ones.
const NAMES: &[(&str, &str)] = &[
    ("builtins", DANGEROUS_BUILTINS),
    ("__builtin__", DANGEROUS_BUILTINS),
    ("operator", "attrgetter methodcaller call"),
    ("_operator", "attrgetter methodcaller call"),
    ("uuid", "_get_command_stdout _popen"),
    ("types", "CodeType FunctionType LambdaType ModuleType MethodType"),
    ("io", "open open_code FileIO"),
    ("_io", "open open_code FileIO"),
    ("codecs", "open"),
    ("pathlib", "open"),
    ("logging", "FileHandler"),
    ("joblib", "load"),
    ("joblib.numpy_pickle", "load"),
    ("numpy", "load loadtxt genfromtxt fromfile memmap save savez"),
    ("numpy.lib.npyio", "load NpzFile"),
    ("numpy.lib._npyio_impl", "load NpzFile"),
    ("torch", "load save compile"),
    ("torch.serialization", "load save"),
    ("torch.jit", "load"),
    ("pandas", "read_pickle eval"),
    ("pandas.io.pickle", "read_pickle"),
];
const DANGEROUS_BUILTINS: &str = "eval exec execfile compile open file input raw_input getattr setattr delattr \
                                  __import__ __build_class__ globals locals vars apply breakpoint exit quit reload";

/// Parts of a dotted name that lead out of whatever module it begins in.
const ESCAPES: &str = "os posix nt sys subprocess builtins __builtins__ __builtin__ eval exec system popen __import__ \
                       __globals__ __subclasses__ __class__ __bases__ __mro__ __dict__ __code__ __init__ __loader__ \
                       import_module getattr socket shutil importlib runpy";

/// Modules that are dangerous also as what another module imported.
const ALIASED: &str = "os posix nt sys subprocess builtins importlib shutil socket runpy ctypes";

/// Says what a name stands for.
pub(super) fn standing(module: &str, name: &str) -> Standing {
    if is_harmless(module, name) {
        return Standing::Harmless;
    }
    // What is looked up is `module`, then each part of `name` in turn.
    let (module, name) = (module.trim(), name.trim());
    let is_below =
        |known: &str| module.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_named = NAMES
        .iter()
        .any(|(known, names)| *known == module && has(names, name.split('.').next().unwrap_or_default()));
    let is_path = name.contains('.');
    let escapes = is_path && name.split('.').any(|part| has(ESCAPES, part));
    let is_alias = module.split('.').skip(1).any(|part| has(ALIASED, part));
    if MODULES.split_ascii_whitespace().any(is_below) || is_named || escapes || is_alias {
        Standing::Dangerous
    } else {
        Standing::Unknown
    }
}

fn is_harmless(module: &str, name: &str) -> bool {
    let is_listed = HARMLESS.iter().any(|(known, names)| *known == module && has(names, name));
    let elements = name.strip_suffix("Storage").or_else(|| name.strip_suffix("Tensor"));
    let is_typed = || elements.is_some_and(|elements| has(ELEMENTS, elements));
    is_listed || (matches!(module, "torch" | "torch.cuda") && is_typed())
}

fn has(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|listed| listed == word)
}

/// Name and bytes of one element of a storage class (`HalfStorage`) or a type (`float8_e4m3fn`) of torch's.
pub(super) fn element(name: &str) -> Option<(&'static str, u64)> {
    Some(match name {
        "DoubleStorage" | "float64" | "double" => ("F64", 8),
        "FloatStorage" | "float32" | "float" => ("F32", 4),
        "HalfStorage" | "float16" | "half" => ("F16", 2),
        "BFloat16Storage" | "bfloat16" => ("BF16", 2),
        "LongStorage" | "int64" | "long" => ("I64", 8),
        "IntStorage" | "int32" | "int" => ("I32", 4),
        "ShortStorage" | "int16" | "short" => ("I16", 2),
        "CharStorage" | "int8" => ("I8", 1),
        "ByteStorage" | "UntypedStorage" | "uint8" => ("U8", 1),
        "BoolStorage" | "bool" => ("BOOL", 1),
        "ComplexFloatStorage" | "complex64" => ("C64", 8),
        "ComplexDoubleStorage" | "complex128" => ("C128", 16),
        "QUInt8Storage" | "quint8" | "QUInt4x2Storage" | "quint4x2" | "QUInt2x4Storage" | "quint2x4" => {
            ("QU8", 1)
        }
        "QInt8Storage" | "qint8" => ("QI8", 1),
        "QInt32Storage" | "qint32" => ("QI32", 4),
        "uint16" => ("U16", 2),
        "uint32" => ("U32", 4),
        "uint64" => ("U64", 8),
        "float8_e4m3fn" => ("F8_E4M3", 1),
        "float8_e5m2" => ("F8_E5M2", 1),
        "float8_e4m3fnuz" => ("F8_E4M3FNUZ", 1),
        "float8_e5m2fnuz" => ("F8_E5M2FNUZ", 1),
        "float8_e8m0fnu" => ("F8_E8M0", 1),
        _ => return None,
    })
}
