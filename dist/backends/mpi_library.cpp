#include "dist/backends/mpi_library.hpp"

#include <dlfcn.h>

#include <string>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

#define LORA_DIST_MPI_NAME "libmpi.so.40"
constexpr const char* kMpiName = LORA_DIST_MPI_NAME;
constexpr const char* kMpiOfBuild = LORA_DIST_MPI_FOLDER "/" LORA_DIST_MPI_NAME;

[[noreturn]] void refuse_mpi(const std::string& found) {
  throw ConfigError({.where = "backend",
                     .found = found,
                     .expected = {},
                     .fix = "`apt install openmpi-bin` on every host, or add the folder of Open "
                            "MPI's libraries to LD_LIBRARY_PATH"});
}

class MpiLookup {
 public:
  // Open MPI's plugins take its symbols from the process, so they are made visible to all.
  MpiLookup() : library_(dlopen(kMpiName, RTLD_NOW | RTLD_GLOBAL)) {
    const std::string problem = library_ ? "" : dlerror();
    if (!library_) library_ = dlopen(kMpiOfBuild, RTLD_NOW | RTLD_GLOBAL);
    if (!library_) refuse_mpi(fmt::format("Open MPI does not load ({})", problem));
  }

  template <class Function>
  void operator()(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(address(name));
  }
  /// A constant: a handle is the address of an object of the library.
  template <class Handle>
  void constant(const char* name, Handle& handle) const {
    handle = static_cast<Handle>(address(name));
  }

 private:
  void* address(const char* name) const {
    void* found = dlsym(library_, name);
    if (!found) refuse_mpi(fmt::format("this machine's {} has no {}", kMpiName, name));
    return found;
  }

  void* library_;  // stays open as long as the process
};

MpiLibrary load_mpi() {
  const MpiLookup find;
  MpiLibrary mpi;
  find("MPI_Init_thread", mpi.init_thread);
  find("MPI_Initialized", mpi.initialized);
  find("MPI_Finalize", mpi.finalize);
  find("MPI_Error_string", mpi.error_string);
  find("MPI_Comm_set_errhandler", mpi.comm_set_errhandler);
  find("MPI_Comm_rank", mpi.comm_rank);
  find("MPI_Comm_size", mpi.comm_size);
  find("MPI_Comm_idup", mpi.comm_idup);
  find("MPI_Comm_split", mpi.comm_split);
  find("MPI_Testall", mpi.testall);
  find("MPI_Bcast", mpi.bcast);
  find("MPI_Ibcast", mpi.ibcast);
  find("MPI_Iallreduce", mpi.iallreduce);
  find("MPI_Iallgather", mpi.iallgather);
  find("MPI_Ialltoallv", mpi.ialltoallv);
  find("MPI_Ibarrier", mpi.ibarrier);
  find("MPI_Igather", mpi.igather);
  find("MPI_Igatherv", mpi.igatherv);
  find("MPI_Type_contiguous", mpi.type_contiguous);
  find("MPI_Type_create_struct", mpi.type_create_struct);
  find("MPI_Type_commit", mpi.type_commit);
  find("MPI_Type_free", mpi.type_free);
  find.constant("ompi_mpi_comm_world", mpi.comm_world);
  find.constant("ompi_mpi_comm_null", mpi.comm_null);
  find.constant("ompi_request_null", mpi.request_null);
  find.constant("ompi_mpi_byte", mpi.type_byte);
  find.constant("ompi_mpi_int", mpi.type_int);
  find.constant("ompi_mpi_int64_t", mpi.type_int64);
  find.constant("ompi_mpi_float", mpi.type_float);
  find.constant("ompi_mpi_double", mpi.type_double);
  find.constant("ompi_mpi_op_sum", mpi.sum);
  find.constant("ompi_mpi_errors_return", mpi.errors_return);
  return mpi;
}

}  // namespace

const MpiLibrary& mpi() {
  static const MpiLibrary library = load_mpi();
  return library;
}

}  // namespace lora_dist
