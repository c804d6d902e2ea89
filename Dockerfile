# An image for NVIDIA GPUs from the V100 on. Not built where mtscale is developed, which has no GPU.
#
#   docker build -t mtscale .
#   docker run --rm --init --gpus all --ipc=host -v "$PWD/runs:/work/runs" -v "$HOME/corpora:/data:ro" mtscale \
#       deepspeed mtscale/train.py --ds_config ds_configs/v100.json
#
# --ipc=host: NCCL talks through shared memory, of which a container has 64 MiB. --init: a stop signal is passed on.
# The runs folder must be writable by user id 1000.

# CUDA 12.6 because torch's builds for later ones have no V100: https://github.com/pytorch/pytorch/issues/172352
ARG CUDA_TAG=12.6.3-base-ubuntu24.04
FROM nvidia/cuda:${CUDA_TAG}

ARG TORCH=cu126
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126

# torch brings the CUDA libraries, and DeepSpeed compiles nothing: mtscale has its own optimizer and uses none of
# DeepSpeed's CUDA operators, so an image without nvcc is enough.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner ubuntu --group ubuntu /work /opt/mtscale /data

# The user that Ubuntu's image brings, with id 1000.
USER ubuntu
WORKDIR /work
ENV PATH=/opt/mtscale/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 MTSCALE_DATA=/data

# torch stands in a layer of its own: it is the largest and changes least.
COPY --chown=ubuntu:ubuntu constraints constraints
RUN python3 -m venv /opt/mtscale \
    && pip install --upgrade -c constraints/${TORCH}.txt pip \
    && pip install -c constraints/${TORCH}.txt --extra-index-url ${TORCH_INDEX} torch

COPY --chown=ubuntu:ubuntu . .
RUN pip install -c constraints/${TORCH}.txt --extra-index-url ${TORCH_INDEX} --editable '.[all]'

CMD ["mtscale-tui"]

RUN python -c "import mtscale, mtscale_tui; from deepspeed.launcher.runner import main"
