# An image for NVIDIA GPUs from the V100 on. What of it has been tried, and how, is said in the README.
#
#   docker build -t mtscale .
#   docker run --rm --init --gpus all --ipc=host -v "$PWD/runs:/work/runs" -v "$HOME/corpora:/data:ro" mtscale \
#       deepspeed mtscale/train.py --ds_config ds_configs/v100.json
#
# --ipc=host: NCCL talks through shared memory, of which a container has 64 MiB. --init: a stop signal is passed on.
# The runs folder must be writable by user id 1000.
#
# The defaults run on every GPU from the V100 to the H100: torch's builds for later CUDA have no V100
# (https://github.com/pytorch/pytorch/issues/172352). For GPUs newer than those:
#   --build-arg CUDA=13.0.2 --build-arg TORCH=cu13 --build-arg TORCH_INDEX=https://pypi.org/simple
ARG CUDA=12.6.3
FROM nvidia/cuda:${CUDA}-base-ubuntu24.04

# TORCH: which of the files in constraints/. TORCH_INDEX: where its build of torch lies.
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

# A layer for torch, which is the largest and changes least; one for the other dependencies and what builds the source;
# and the source, whose layer takes seconds and needs no network.
COPY --chown=ubuntu:ubuntu constraints constraints
RUN python3 -m venv /opt/mtscale \
    && pip install --upgrade -c constraints/${TORCH}.txt pip \
    && pip install -c constraints/${TORCH}.txt --extra-index-url ${TORCH_INDEX} torch

COPY --chown=ubuntu:ubuntu pyproject.toml .
RUN python -c "import tomllib; read = tomllib.load(open('pyproject.toml', 'rb')); project = read['project']; \
extras = [line for extra in project['optional-dependencies'].values() for line in extra if '[' not in line]; \
print(*read['build-system']['requires'], *project['dependencies'], *extras, sep='\n')" \
        > /tmp/requirements.txt \
    && pip install -c constraints/${TORCH}.txt --extra-index-url ${TORCH_INDEX} -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY --chown=ubuntu:ubuntu . .
RUN pip install --no-deps --no-build-isolation --editable . \
    && pip check \
    && python -c "import mtscale, mtscale_tui; from deepspeed.launcher.runner import main"

CMD ["mtscale-tui"]
