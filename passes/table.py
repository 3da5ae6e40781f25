"""The table of our own passes: name -> class. A new pass is one file, one line here and one `.mlir` test."""

from __future__ import annotations

from lowering.core import Pass
from lowering.passes.amdgpu.buffer_accesses import BufferAccesses
from lowering.passes.amdgpu.fence_products import FenceProducts
from lowering.passes.amdgpu.interleave_products import InterleaveProducts
from lowering.passes.amdgpu.map_lanes import MapLanes
from lowering.passes.amdgpu.ping_pong import PingPong
from lowering.passes.amdgpu.pipeline_fragments import PipelineFragments
from lowering.passes.amdgpu.turn_bytes import TurnBytes
from lowering.passes.common.backend import Codegen, Llvm, Ptxas
from lowering.passes.common.contract_fma import ContractFma
from lowering.passes.common.expand_copies import ExpandCopies
from lowering.passes.common.fold_padding_reads import FoldPaddingReads
from lowering.passes.common.fold_padding_writes import FoldPaddingWrites
from lowering.passes.common.fold_split_reads import FoldSplitReads
from lowering.passes.common.lower_contraction import LowerContraction
from lowering.passes.common.pad import Pad
from lowering.passes.common.split_accumulators import SplitAccumulators
from lowering.passes.common.split_reduction import SplitReduction
from lowering.passes.common.start_from_zero import StartFromZero
from lowering.passes.common.tile import Tile
from lowering.passes.common.tile_reduction import TileReduction
from lowering.passes.common.vectorize import Vectorize
from lowering.passes.faults.device import DropCopy, WildStore
from lowering.passes.faults.miscompile_barrier import DropBarrier
from lowering.passes.faults.miscompile_loops import HoistPastWrite, OffByOne, SkipRemainder
from lowering.passes.faults.miscompile_memory import DropStore, ReadPastTile, SwapOperands
from lowering.passes.faults.miscompile_rounding import FoldRounding, NarrowAccumulator
from lowering.passes.faults.process import Crash, EatMemory, Fail, Hang
from lowering.passes.gpu.double_buffer import DoubleBuffer
from lowering.passes.gpu.expand_math import ExpandMath
from lowering.passes.gpu.fill_ahead import FillAhead
from lowering.passes.gpu.hilbert import Hilbert
from lowering.passes.gpu.kernel_arguments import KernelArguments
from lowering.passes.gpu.lower_transfers import LowerTransfers
from lowering.passes.gpu.map_blocks import MapBlocks
from lowering.passes.gpu.map_threads import MapThreads
from lowering.passes.gpu.map_waves import MapWaves
from lowering.passes.gpu.persist import Persist
from lowering.passes.gpu.prefetch import Prefetch
from lowering.passes.gpu.promote import Promote
from lowering.passes.gpu.rasterise import Rasterise
from lowering.passes.gpu.split_k import SplitK
from lowering.passes.gpu.stream_k import StreamK
from lowering.passes.gpu.swizzle import Swizzle
from lowering.passes.gpu.transpose_product import TransposeProduct
from lowering.passes.nvidia.align_rows import AlignRows
from lowering.passes.nvidia.by_value_maps import ByValueMaps
from lowering.passes.nvidia.cluster import Cluster
from lowering.passes.nvidia.dependent_launches import DependentLaunches
from lowering.passes.nvidia.dynamic_workgroup import DynamicWorkgroup
from lowering.passes.nvidia.first_product import FirstProduct
from lowering.passes.nvidia.lower_tensor_maps import LowerTensorMaps
from lowering.passes.nvidia.multicast import Multicast
from lowering.passes.nvidia.overlap_steps import OverlapSteps
from lowering.passes.nvidia.promote_tma import PromoteTma
from lowering.passes.nvidia.resident import Resident
from lowering.passes.nvidia.ring import Ring
from lowering.passes.nvidia.share_registers import ShareRegisters
from lowering.passes.nvidia.sum_apart import SumApart
from lowering.passes.nvidia.warp_specialise import WarpSpecialise
from lowering.passes.nvidia.wgmma import Wgmma
from lowering.passes.transform import Transform
from lowering.passes.x86.drop_outer_dims import DropOuterDims
from lowering.passes.x86.generalize_contraction import GeneralizeContraction
from lowering.passes.x86.hoist_accumulators import HoistAccumulators
from lowering.passes.x86.pack import Pack
from lowering.passes.x86.pad_registers import PadRegisters
from lowering.passes.x86.peel import Peel
from lowering.passes.x86.prefetch_c import PrefetchC
from lowering.passes.x86.scalar_a import ScalarA
from lowering.passes.x86.tile_cache import TileCache
from lowering.passes.x86.tile_k import TileK
from lowering.passes.x86.tile_registers import TileRegisters
from lowering.passes.x86.vectorize_contraction import VectorizeContraction
from lowering.passes.x86.vectorize_rows import VectorizeRows

TABLE: tuple[type[Pass], ...] = (
    Transform,
    Llvm,
    Codegen,
    Ptxas,
    ContractFma,
    ExpandCopies,
    FoldPaddingReads,
    FoldPaddingWrites,
    FoldSplitReads,
    LowerContraction,
    Pad,
    SplitAccumulators,
    SplitReduction,
    StartFromZero,
    Tile,
    TileReduction,
    Vectorize,
    ExpandMath,
    KernelArguments,
    LowerTransfers,
    MapLanes,
    MapBlocks,
    MapThreads,
    MapWaves,
    Promote,
    Rasterise,
    Hilbert,
    Swizzle,
    DoubleBuffer,
    FillAhead,
    Prefetch,
    PingPong,
    Persist,
    SplitK,
    StreamK,
    BufferAccesses,
    FenceProducts,
    InterleaveProducts,
    PipelineFragments,
    TurnBytes,
    Cluster,
    AlignRows,
    PromoteTma,
    Ring,
    WarpSpecialise,
    TransposeProduct,
    ShareRegisters,
    Wgmma,
    SumApart,
    FirstProduct,
    OverlapSteps,
    Multicast,
    DependentLaunches,
    DynamicWorkgroup,
    LowerTensorMaps,
    ByValueMaps,
    Resident,
    DropOuterDims,
    GeneralizeContraction,
    HoistAccumulators,
    Pack,
    PadRegisters,
    Peel,
    PrefetchC,
    ScalarA,
    TileCache,
    TileK,
    TileRegisters,
    VectorizeContraction,
    VectorizeRows,
)

FAULTS: tuple[type[Pass], ...] = (
    Crash,
    EatMemory,
    Fail,
    Hang,
    DropBarrier,
    DropCopy,
    DropStore,
    FoldRounding,
    HoistPastWrite,
    NarrowAccumulator,
    OffByOne,
    ReadPastTile,
    SkipRemainder,
    SwapOperands,
    WildStore,
)  # for tests: a schedule may name them, but they are never listed or proposed

PASSES: dict[str, type[Pass]] = {cls.name: cls for cls in (*TABLE, *FAULTS)}
