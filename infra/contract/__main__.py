"""Writes all files of the contract, and removes schemas of what is gone: `make contract`."""

from infra.contract.files import SCHEMAS, files

if __name__ == "__main__":
    contents = files()
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for path in SCHEMAS.glob("*.json"):
        if path not in contents:
            path.unlink()
