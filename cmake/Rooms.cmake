# One static library per room, all reusing one precompiled header.

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/pch.cpp CONTENT "")
add_library(lora_dist_pch OBJECT ${CMAKE_BINARY_DIR}/pch.cpp)
target_link_libraries(lora_dist_pch PRIVATE lora_dist_base)
if(LORA_DIST_PCH)
  target_precompile_headers(lora_dist_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.hpp)
endif()

function(lora_dist_use_pch target)
  if(LORA_DIST_PCH)
    target_precompile_headers(${target} REUSE_FROM lora_dist_pch)
  else()
    target_compile_options(${target} PRIVATE -include ${PROJECT_SOURCE_DIR}/cmake/precompiled.hpp)
  endif()
endfunction()

# With CMAKE_UNITY_BUILD (preset release) the files of a folder are compiled six at a time: most of a file's cost is the
# templates of LibTorch's headers, made again for each unit. So names in anonymous namespaces are unique within a folder.
function(lora_dist_group_by_folder)
  foreach(source ${ARGN})
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE relative)
    cmake_path(GET relative PARENT_PATH folder)
    string(MAKE_C_IDENTIFIER ${folder} folder)
    list(APPEND files_in_${folder} ${source})
    list(LENGTH files_in_${folder} position)
    math(EXPR group "(${position} - 1) / 6")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder}_${group})
  endforeach()
endfunction()

# lora_dist_room(data lora_dist_core): every .cpp below the room's folder; new files are picked up by the next build.
function(lora_dist_room room)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${room}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$|/core/ops/kernels/")
  if(NOT LORA_DIST_CUDA)
    list(FILTER sources EXCLUDE REGEX "/dist/backends/nccl/")
  endif()
  add_library(lora_dist_${room} STATIC ${sources})
  set_target_properties(lora_dist_${room} PROPERTIES UNITY_BUILD_MODE GROUP)
  lora_dist_group_by_folder(${sources})
  target_link_libraries(lora_dist_${room} PUBLIC lora_dist_base ${ARGN})
  lora_dist_use_pch(lora_dist_${room})
endfunction()

# CPU kernels see raw pointers only, no precompiled header; each instruction set is the same source built again.
# -fopenmp makes at::parallel_for parallel (it is serial without); LibTorch's own runtime is the one loaded.
add_library(lora_dist_kernels OBJECT)
set_target_properties(lora_dist_kernels PROPERTIES UNITY_BUILD OFF)
file(GLOB kernel_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/ops/kernels/*.cpp)
target_sources(lora_dist_kernels PRIVATE ${kernel_sources})
target_link_libraries(lora_dist_kernels PRIVATE lora_dist_base)
target_compile_options(lora_dist_kernels PRIVATE -O3 -fopenmp)
# Sums may be reordered for vectors (never across rows); NaN and infinity keep their meaning.
set(vector_math -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math)
set_source_files_properties(${kernel_sources} PROPERTIES COMPILE_OPTIONS "${vector_math}")
set_source_files_properties(${PROJECT_SOURCE_DIR}/core/ops/kernels/table_scalar.cpp
  PROPERTIES COMPILE_OPTIONS "-fno-tree-vectorize;-fno-tree-slp-vectorize;-ffp-contract=off")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(avx2 -mavx2 -mfma)
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  foreach(kernel IN ITEMS "table_avx2;${avx2}" "table_avx512;${avx512}" "bf16_avx512;${avx512};-mavx512bf16"
                          "bf16_amx;${avx512};-mamx-tile;-mamx-bf16")
    list(POP_FRONT kernel name)
    set_source_files_properties(${PROJECT_SOURCE_DIR}/core/ops/kernels/${name}.cpp
      PROPERTIES COMPILE_OPTIONS "${vector_math};${kernel}")
  endforeach()
else()
  foreach(name IN ITEMS table_avx2 table_avx512 bf16_avx512 bf16_amx)
    set_source_files_properties(${PROJECT_SOURCE_DIR}/core/ops/kernels/${name}.cpp PROPERTIES HEADER_FILE_ONLY ON)
  endforeach()
endif()

# The one file of core that sees CUDA's headers, through LibTorch's; alone, for they define macros.
if(LORA_DIST_CUDA)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/core/ops/cuda/graph.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON
    COMPILE_OPTIONS "-isystem;${LORA_DIST_DEPS}/nvidia/cu13/include;-isystem;${LORA_DIST_DEPS}/nvidia/cu13/include/cccl")
endif()

# GPU kernels, likewise of raw pointers: one object made by nvcc alone, since CMake's own CUDA language wants a whole
# toolkit. Machine code for Ampere to Blackwell, and PTX for what lies between and comes after.
if(LORA_DIST_CUDA)
  set(row_kernels ${CMAKE_BINARY_DIR}/row_kernels.o)
  foreach(code 80 86 89 90 100 120)
    list(APPEND gpu_code -gencode arch=compute_${code},code=sm_${code})
  endforeach()
  foreach(code 80 120)
    list(APPEND gpu_code -gencode arch=compute_${code},code=compute_${code})
  endforeach()
  add_custom_command(OUTPUT ${row_kernels}
    COMMAND ${LORA_DIST_NVCC} -ccbin ${CMAKE_CXX_COMPILER} -std=c++20 -O3 --expt-relaxed-constexpr --threads 2
            -DLORA_DIST_CUDA -I${PROJECT_SOURCE_DIR} ${gpu_code} -MD -MF ${row_kernels}.d
            -c ${PROJECT_SOURCE_DIR}/core/ops/cuda/row_kernels.cu -o ${row_kernels}
    DEPENDS ${PROJECT_SOURCE_DIR}/core/ops/cuda/row_kernels.cu
    DEPFILE ${row_kernels}.d
    COMMENT "Building CUDA object row_kernels.o"
    VERBATIM)
  set_source_files_properties(${row_kernels} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endif()
