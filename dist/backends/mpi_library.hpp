// Open MPI's functions and constants, looked up at run time, so that the program starts where Open
// MPI is not installed and a world of one never touches it. Types come from mpi.h; its constants,
// which are addresses in the library, do not link.
#pragma once

#define OMPI_SKIP_MPICXX 1  // the C++ bindings would be linked
#include <mpi.h>

namespace lora_dist {

struct MpiLibrary {
  decltype(&MPI_Init_thread) init_thread;
  decltype(&MPI_Initialized) initialized;
  decltype(&MPI_Finalize) finalize;
  decltype(&MPI_Error_string) error_string;
  decltype(&MPI_Comm_set_errhandler) comm_set_errhandler;
  decltype(&MPI_Comm_rank) comm_rank;
  decltype(&MPI_Comm_size) comm_size;
  decltype(&MPI_Comm_idup) comm_idup;
  decltype(&MPI_Comm_split) comm_split;
  decltype(&MPI_Testall) testall;
  decltype(&MPI_Bcast) bcast;
  decltype(&MPI_Ibcast) ibcast;
  decltype(&MPI_Iallreduce) iallreduce;
  decltype(&MPI_Iallgather) iallgather;
  decltype(&MPI_Ialltoallv) ialltoallv;
  decltype(&MPI_Ibarrier) ibarrier;
  decltype(&MPI_Igather) igather;
  decltype(&MPI_Igatherv) igatherv;
  decltype(&MPI_Type_contiguous) type_contiguous;
  decltype(&MPI_Type_create_struct) type_create_struct;
  decltype(&MPI_Type_commit) type_commit;
  decltype(&MPI_Type_free) type_free;

  MPI_Comm comm_world, comm_null;
  MPI_Request request_null;
  MPI_Datatype type_byte, type_int, type_int64, type_float, type_double;
  MPI_Op sum;
  MPI_Errhandler errors_return;
};

/// Those of libmpi.so.40, which Open MPI 3 to 5 are; loaded by the first call. It is found as any
/// library is (LD_LIBRARY_PATH, ldconfig), else where it was when this program was built.
/// Errors  ConfigError: it does not load.
const MpiLibrary& mpi();

}  // namespace lora_dist
