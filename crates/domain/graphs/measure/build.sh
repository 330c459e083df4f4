#!/bin/sh
# Builds `measure`: build.sh LLAMA_CPP_SOURCES [FOLDER]. The sources are copied, patched and compiled in FOLDER (`build`
# unless it is given), where `measure` is then; JOBS compilers run at once. Needs cmake, a C++ compiler and python3, but
# no CUDA.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sources=$(cd "$1" && pwd -P)
folder=${2:-build}
mkdir -p "$folder"
cd "$folder"
if [ ! -d llama.cpp ]; then
    rm -rf unpatched
    cp -r "$sources" unpatched
    patch -d unpatched -p1 < "$here/llama.cpp.patch"
    mv unpatched llama.cpp
fi
cmake -S llama.cpp -B llama.cpp.build -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O1 -DCMAKE_CXX_FLAGS="-O1 -I$here" \
    -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DLLAMA_BUILD_COMMON=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
    -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF
cmake --build llama.cpp.build --target llama -j "${JOBS:-1}"
python3 "$here/cut.py" llama.cpp > cuda_rules.inc
for part in device measure; do
    ${CXX:-c++} -std=c++17 -O1 -c "$here/$part.cpp" -o "$part.o" -I. -Illama.cpp/include -Illama.cpp/src \
        -Illama.cpp/ggml/include -Illama.cpp/ggml/src
done
libraries=llama.cpp.build/ggml/src
${CXX:-c++} -o measure measure.o device.o llama.cpp.build/src/libllama.a $libraries/libggml.a \
    $libraries/libggml-cpu.a $libraries/libggml-base.a -lpthread -ldl -lm
