# Everything the rooms link: Debian packages, and LibTorch from the torch wheel that scripts/setup.sh unpacked.

find_package(PkgConfig REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(Threads REQUIRED)
pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5-serial)
pkg_check_modules(ONIGURUMA REQUIRED IMPORTED_TARGET oniguruma)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# LibTorch. Linked directly and without the CUDA libraries, which would cost start-up time (formats 12.2): libtorch_cpu
# needs only libcudart and libcupti of the wheels beside it.
set(torch_root ${LORA_DIST_DEPS}/torch)
if(NOT EXISTS ${torch_root}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch is not in ${LORA_DIST_DEPS}; run scripts/setup.sh, or pass -DLORA_DIST_DEPS=<folder>")
endif()
add_library(lora_dist_torch INTERFACE)
target_include_directories(lora_dist_torch SYSTEM INTERFACE
  ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_directories(lora_dist_torch INTERFACE ${torch_root}/lib)
target_link_options(lora_dist_torch INTERFACE -Wl,--allow-shlib-undefined)
# In CMake's own hands, so that an installation has another one. What it comes without is found by launcher/start, which
# asks for this very version.
list(APPEND CMAKE_BUILD_RPATH ${torch_root}/lib)
file(STRINGS ${torch_root}/version.py torch_version REGEX "^__version__")
string(REGEX REPLACE ".*'([0-9.]+).*" "\\1" torch_version "${torch_version}")
target_link_libraries(lora_dist_torch INTERFACE
  -Wl,--push-state,--no-as-needed torch_cpu c10 -Wl,--pop-state
  ${torch_root}/lib/libgomp.so.1)  # LibTorch's own OpenMP runtime, so that only one is ever loaded

# NCCL: types only. The library is loaded at run time, with LibTorch's CUDA half, where a GPU is found; the program itself
# starts without them. Its header asks for those of CUDA, which asks for CCCL's. Our kernels are linked to the CUDA runtime
# that libtorch_cpu has loaded anyway, so there is one in the process.
if(LORA_DIST_CUDA)
  foreach(file nccl/include/nccl.h cu13/include/crt/host_config.h cu13/include/cccl/nv/target cu13/lib/libcudart.so.13)
    if(NOT EXISTS ${LORA_DIST_DEPS}/nvidia/${file})
      message(FATAL_ERROR "${LORA_DIST_DEPS}/nvidia/${file} is missing; remove ${LORA_DIST_DEPS} and run LORA_DIST_PROFILE=cuda scripts/setup.sh")
    endif()
  endforeach()
  find_program(LORA_DIST_NVCC nvcc HINTS ${LORA_DIST_DEPS}/nvidia/cu13/bin PATHS /usr/local/cuda/bin
    DOC "The CUDA compiler, release 13")
  if(LORA_DIST_NVCC)
    execute_process(COMMAND ${LORA_DIST_NVCC} --version OUTPUT_VARIABLE nvcc_release)
    string(REGEX MATCH "release [0-9.]+" nvcc_release "${nvcc_release}")
  endif()
  if(NOT nvcc_release MATCHES "release 13\\.")
    message(FATAL_ERROR "nvcc of CUDA 13, the toolkit of this LibTorch, is needed, not ${LORA_DIST_NVCC} (${nvcc_release}); run LORA_DIST_PROFILE=cuda scripts/setup.sh, or pass -DLORA_DIST_NVCC=<path>")
  endif()
  add_library(lora_dist_cudart INTERFACE)
  target_link_libraries(lora_dist_cudart INTERFACE ${LORA_DIST_DEPS}/nvidia/cu13/lib/libcudart.so.13)
  list(APPEND CMAKE_BUILD_RPATH ${LORA_DIST_DEPS}/nvidia/cu13/lib)
  add_library(lora_dist_nccl INTERFACE)
  target_compile_definitions(lora_dist_nccl INTERFACE LORA_DIST_CUDA)
  target_include_directories(lora_dist_nccl SYSTEM INTERFACE
    ${LORA_DIST_DEPS}/nvidia/nccl/include ${LORA_DIST_DEPS}/nvidia/cu13/include ${LORA_DIST_DEPS}/nvidia/cu13/include/cccl)
endif()

# LibTorch carries headers of a newer fmt than the one spdlog was built with, and they would be found first. A folder
# that holds only a link to the system's fmt goes in front.
set(system_fmt ${CMAKE_BINARY_DIR}/system_fmt)
file(MAKE_DIRECTORY ${system_fmt})
if(NOT EXISTS ${system_fmt}/fmt)
  file(CREATE_LINK ${CMAKE_SYSROOT}/usr/include/fmt ${system_fmt}/fmt SYMBOLIC)
endif()

# Options live here alone: a precompiled header is dropped by GCC when a user of it has other flags.
add_library(lora_dist_base INTERFACE)
target_include_directories(lora_dist_base BEFORE INTERFACE ${system_fmt} ${PROJECT_SOURCE_DIR})
target_compile_options(lora_dist_base INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Werror=invalid-pch -fpch-preprocess)
# GCC collects its own garbage less often: a tenth of the compile time for a tenth more memory.
target_compile_options(lora_dist_base INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=1500000$<SEMICOLON>--param=ggc-min-expand=300>)
# Failed checks name a file of the project, not a folder of the machine that built it.
target_compile_options(lora_dist_base INTERFACE
  -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/= -fmacro-prefix-map=${LORA_DIST_DEPS}/=)
target_compile_definitions(lora_dist_base INTERFACE LORA_DIST_VERSION="${PROJECT_VERSION}")
target_link_libraries(lora_dist_base INTERFACE
  lora_dist_torch fmt::fmt nlohmann_json::nlohmann_json Threads::Threads)
