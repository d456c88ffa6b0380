# What `make install` puts where: bin/lora-dist finds LibTorch and starts lib/lora-dist/lora-dist, which is linked to it.
# The two lie as they do below any prefix and name nothing of this machine, so the whole can be moved.

add_executable(lora_dist_start launcher/start/main.cpp launcher/start/find_torch.cpp)
set_target_properties(lora_dist_start PROPERTIES
  OUTPUT_NAME lora-dist RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/start UNITY_BUILD OFF INSTALL_RPATH "")
target_include_directories(lora_dist_start PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(lora_dist_start PRIVATE -Wall -Wextra)
target_compile_definitions(lora_dist_start PRIVATE LORA_DIST_TORCH_VERSION="${torch_version}")
target_link_options(lora_dist_start PRIVATE -static-libstdc++ -static-libgcc)
add_dependencies(lora-dist lora_dist_start)

set_target_properties(lora-dist PROPERTIES INSTALL_RPATH "$ORIGIN/torch/lib:$ORIGIN/nvidia/cu13/lib")
install(TARGETS lora_dist_start DESTINATION bin)
install(TARGETS lora-dist DESTINATION lib/lora-dist)
install(DIRECTORY configs examples docs DESTINATION share/lora-dist)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION share/lora-dist)

# With LibTorch beside it the program needs no Python at all: `make install torch=beside`. Only what it loads without a GPU.
foreach(library libtorch_cpu.so libc10.so libgomp.so.1)
  install(FILES ${torch_root}/lib/${library} DESTINATION lib/lora-dist/torch/lib COMPONENT torch EXCLUDE_FROM_ALL)
endforeach()
install(FILES ${torch_root}/version.py DESTINATION lib/lora-dist/torch COMPONENT torch EXCLUDE_FROM_ALL)
file(GLOB nvidia_libraries ${LORA_DIST_DEPS}/nvidia/cu13/lib/libcudart.so* ${LORA_DIST_DEPS}/nvidia/cu13/lib/libcupti.so*)
install(FILES ${nvidia_libraries} DESTINATION lib/lora-dist/nvidia/cu13/lib COMPONENT torch EXCLUDE_FROM_ALL)

# Manual page and completion are printed by the program from its own tables, so they cannot be older than it.
function(lora_dist_install_output destination)
  list(JOIN ARGN "\" \"" words)
  install(CODE "
    set(target \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${destination}\")
    cmake_path(GET target PARENT_PATH folder)
    file(MAKE_DIRECTORY \"\${folder}\")
    execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} \"$<TARGET_FILE:lora-dist>\" \"${words}\"
                    OUTPUT_FILE \"\${target}\" COMMAND_ERROR_IS_FATAL ANY)
    message(STATUS \"Installing: \${target}\")")
endfunction()
lora_dist_install_output(share/man/man1/lora-dist.1 help --man)
lora_dist_install_output(share/bash-completion/completions/lora-dist completion bash)
lora_dist_install_output(share/zsh/site-functions/_lora-dist completion zsh)
lora_dist_install_output(share/fish/vendor_completions.d/lora-dist.fish completion fish)
